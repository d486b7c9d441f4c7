import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { contextNames, kubeContext } from "../../../src/kube/kubeconfig.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-kubeconfig-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, config: object): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, JSON.stringify(config));
  return path;
}

const context = (name: string, cluster: string, user: string, more: object = {}) => ({
  name,
  context: { cluster, user, ...more },
});
const cluster = (name: string, server: string, more: object = {}) => ({ name, cluster: { server, ...more } });
const user = (name: string, spec: object) => ({ name, user: spec });
const EXEC = { apiVersion: "client.authentication.k8s.io/v1", command: "./login", env: [{ name: "A", value: "b" }] };

const one = file("one/config", {
  contexts: [context("a", "ca", "ua", { namespace: "team" })],
  clusters: [cluster("ca", "https://192.0.2.1")],
  users: [user("ua", { "client-certificate": "me.pem", "client-key": "me.key" })],
});
const two = file("two/config", {
  "current-context": "b",
  contexts: [context("a", "other", "other"), context("b", "cb", "ub")],
  clusters: [
    cluster("ca", "https://192.0.2.66"),
    cluster("cb", "https://192.0.2.2/", { "certificate-authority": "ca.pem" }),
  ],
  users: [user("ub", { tokenFile: "token" }), user("run", { exec: EXEC })],
});

describe("several files count as one", () => {
  test("the first one's word holds; paths are relative to the file they stand in", () => {
    const chosen = kubeContext([one, two, join(folder, "missing")], { context: "a" });
    expect(chosen).toMatchObject({ name: "a", namespace: "team", access: { server: "https://192.0.2.1" } });
    expect(chosen.access.certificate).toEqual({ file: join(folder, "one/me.pem") });
    const usual = kubeContext([one, two]);
    expect(usual).toMatchObject({
      name: "b",
      namespace: null,
      access: { server: "https://192.0.2.2", ca: { file: join(folder, "two/ca.pem") } },
    });
    expect(usual.access.token).toEqual({ file: join(folder, "two/token") });
    expect(contextNames([one, two])).toEqual(["a", "a", "b"]);
  });

  test("another user or cluster than the context's", () => {
    expect(kubeContext([one, two], { user: "ua" }).access).toMatchObject({ server: "https://192.0.2.2", token: null });
    expect(kubeContext([one, two], { cluster: "ca" }).access).toMatchObject({ server: "https://192.0.2.1" });
  });

  test("none of them is there", () => {
    expect(() => kubeContext([join(folder, "missing")])).toThrow("missing`: ENOENT");
    expect(contextNames([join(folder, "missing")])).toEqual([]);
  });
});

describe("a user", () => {
  const accessOf = (spec: object, more: object = {}) =>
    kubeContext([
      file("user", {
        "current-context": "c",
        contexts: [context("c", "k", "u")],
        clusters: [cluster("k", "https://192.0.2.1", more)],
        users: [user("u", spec)],
      }),
    ]).access;

  test("a program that logs in", () => {
    expect(accessOf({ exec: EXEC }).plugin).toEqual({
      apiVersion: EXEC.apiVersion,
      command: join(folder, "login"),
      args: [],
      env: { A: "b" },
      interactive: "IfAvailable",
      installHint: null,
      cluster: null,
    });
    const extension = { name: "client.authentication.k8s.io/exec", extension: { audience: "x" } };
    const told = accessOf(
      { exec: { ...EXEC, command: "aws", provideClusterInfo: true } },
      { "certificate-authority-data": "Q0E=", extensions: [extension] },
    );
    expect(told.plugin).toMatchObject({
      command: "aws",
      cluster: { "certificate-authority-data": "Q0E=", config: { audience: "x" } },
    });
  });

  test("on whose behalf", () => {
    expect(
      accessOf({ token: "t", as: "anna", "as-groups": ["g"], "as-user-extra": { "a/B": ["x"] } }).impersonation,
    ).toEqual({
      "impersonate-user": "anna",
      "impersonate-group": ["g"],
      "impersonate-extra-a%2fb": ["x"],
    });
  });

  test.each<readonly [object, object, string]>([
    [
      { exec: { command: "x", apiVersion: "client.authentication.k8s.io/v1alpha1" } },
      {},
      "asks for `client.authentication.k8s.io/v1alpha1`",
    ],
    [{ exec: { apiVersion: EXEC.apiVersion } }, {}, "`exec` names no `command`"],
    [{ exec: { ...EXEC, interactiveMode: "Sometimes" } }, {}, "`interactiveMode`"],
    [{ "auth-provider": {} }, {}, "`auth-provider` is not supported: use"],
    [{ username: "a" }, {}, "`username` is not supported: use"],
    [{}, { "proxy-url": "http://192.0.2.3" }, "`proxy-url` is not supported"],
    [{}, { "insecure-skip-tls-verify": true }, "`insecure-skip-tls-verify` is refused"],
  ])("%j %j: %s", (spec, more, message) => {
    expect(() => accessOf(spec, more)).toThrow(message);
  });
});
