import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { CredentialReader, inClusterAccess } from "../../../src/kube/access.ts";
import { kubeconfigAccess } from "../../../src/kube/kubeconfig.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-access-"));
afterAll(() => rmSync(folder, { recursive: true }));

function kubeconfig(cluster: object, user: object): string {
  const path = join(folder, "config");
  const config = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: "https://192.0.2.1:6443", ...cluster } }],
    users: [{ name: "u", user }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

describe("in a pod", () => {
  test("the server is named by the environment, its files are the account's", () => {
    const env = { KUBERNETES_SERVICE_HOST: "fd00:96::1", KUBERNETES_SERVICE_PORT: "443" };
    expect(inClusterAccess(env, "/account")).toMatchObject({
      server: "https://[fd00:96::1]:443",
      ca: { file: "/account/ca.crt" },
      token: { file: "/account/token" },
    });
    expect(() => inClusterAccess({})).toThrow("--kubeconfig FILE");
  });

  test("a token that was rotated is used once it is looked for; while it is away the old one is", () => {
    const token = join(folder, "token");
    writeFileSync(token, "one\n");
    const access = { ...inClusterAccess({ KUBERNETES_SERVICE_HOST: "192.0.2.1" }), ca: null, token: { file: token } };
    const reader = new CredentialReader(access);
    expect(reader.read().token).toBe("one");
    writeFileSync(token, "second");
    expect(reader.read().token).toBe("one");
    expect(reader.read(true).token).toBe("second");
    rmSync(token);
    expect(reader.read(true).token).toBe("second");
    expect(() => new CredentialReader(access).read()).toThrow("cannot be read (ENOENT)");
  });
});

describe("a kubeconfig", () => {
  test("data in it and files beside it", () => {
    const data = Buffer.from("PEM").toString("base64");
    const access = kubeconfigAccess(
      kubeconfig({ "certificate-authority-data": data }, { "client-certificate": "own.pem", "client-key-data": data }),
    );
    expect(access).toMatchObject({
      server: "https://192.0.2.1:6443",
      ca: { text: "PEM" },
      certificate: { file: join(folder, "own.pem") },
      key: { text: "PEM" },
      token: null,
    });
    expect(kubeconfigAccess(kubeconfig({}, { token: "t", tokenFile: "f" })).token).toEqual({ file: join(folder, "f") });
  });

  test.each([
    ["`insecure-skip-tls-verify` is refused", { "insecure-skip-tls-verify": true }, {}],
    ["must begin with `https://`", { server: "http://192.0.2.1" }, {}],
    ["`exec` is not supported here", {}, { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "x" } }],
  ])("%s", (message, cluster, user) => {
    expect(() => kubeconfigAccess(kubeconfig(cluster, user))).toThrow(message);
  });

  test("that is not there, or names what is not in it", () => {
    expect(() => kubeconfigAccess("/nowhere/config")).toThrow("`/nowhere/config`: ENOENT");
    const path = join(folder, "empty");
    writeFileSync(path, "current-context: x\n");
    expect(() => kubeconfigAccess(path)).toThrow("no `x` in `contexts`");
  });
});
