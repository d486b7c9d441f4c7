import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type ClusterAccess, CredentialError, type CredentialPlugin } from "../../../src/kube/access.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import { PluginCredentials } from "../../../src/kube/plugin-credentials.ts";
import { Session } from "../../../src/kube/session.ts";
import { answer, StubApiServer } from "../../support/stub-api-server.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-credentials-"));
afterAll(() => rmSync(folder, { recursive: true }));

const V1 = "client.authentication.k8s.io/v1";
const ACCESS: ClusterAccess = {
  server: "https://192.0.2.1:6443",
  serverName: null,
  ca: { text: "CA" },
  certificate: null,
  key: null,
  token: null,
};
const TIMES = { aloneMs: 10_000, askingMs: 10_000, graceMs: 200 };
const CALLS = join(folder, "calls");

/** A program that counts its calls and then runs these lines of shell. */
function program(name: string, script: string, more: Partial<CredentialPlugin> = {}): CredentialPlugin {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\necho call >> ${CALLS}\n${script}\n`);
  chmodSync(path, 0o755);
  rmSync(CALLS, { force: true });
  const usual = {
    apiVersion: V1,
    args: [],
    env: {},
    interactive: "IfAvailable",
    installHint: null,
    cluster: null,
  } as const;
  return { ...usual, command: path, ...more };
}

const gives = (status: object, apiVersion = V1) =>
  `cat <<'END'\n${JSON.stringify({ apiVersion, kind: "ExecCredential", status })}\nEND`;
const calls = () => (existsSync(CALLS) ? readFileSync(CALLS, "utf8").trim().split("\n").length : 0);
const credentials = (plugin: CredentialPlugin, times = TIMES) =>
  new PluginCredentials(ACCESS, plugin, false, never, times);
const never = new AbortController().signal;
const later = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

describe("a program that gives credentials", () => {
  test("a token, kept until it is refused; those who ask together ask once", async () => {
    const source = credentials(program("token", gives({ token: "t1", expirationTimestamp: later(3600) })));
    const [first, second] = await Promise.all([source.read(false), source.read(false)]);
    expect(first).toEqual({ ca: "CA", certificate: null, key: null, token: "t1" });
    expect(second).toBe(first);
    expect(await source.read(false)).toBe(first);
    expect(calls()).toBe(1);
    await source.read(true);
    expect(calls()).toBe(2);
  });

  test("what is about to expire is asked for anew", async () => {
    const source = credentials(program("short", gives({ token: "t1", expirationTimestamp: later(5) })));
    await source.read(false);
    await source.read(false);
    expect(calls()).toBe(2);
  });

  test("a client certificate", async () => {
    const source = credentials(
      program("cert", gives({ clientCertificateData: "CERT", clientKeyData: "KEY" }, `${V1}beta1`), {
        apiVersion: `${V1}beta1`,
      }),
    );
    expect(await source.read(false)).toEqual({ ca: "CA", certificate: "CERT", key: "KEY", token: null });
  });

  test("is told what it is asked for, and where", async () => {
    const script = `printf '%s %s %s' "$1" "$OWN" "$KUBERNETES_EXEC_INFO" > ${join(folder, "told")}\n${gives({ token: "t" })}`;
    await credentials(
      program("told-to", script, { args: ["login"], env: { OWN: "mine" }, cluster: { "tls-server-name": "k" } }),
    ).read(false);
    const told = readFileSync(join(folder, "told"), "utf8");
    expect(told).toMatch(/^login mine \{/);
    expect(JSON.parse(told.slice("login mine ".length))).toEqual({
      apiVersion: V1,
      kind: "ExecCredential",
      spec: { interactive: false, cluster: { "tls-server-name": "k", server: ACCESS.server } },
    });
  });

  test("its token is what the API server sees, a new one once the old one is refused", async () => {
    const stub = await StubApiServer.start();
    const plugin = program(
      "counted",
      `n=$(wc -l < ${CALLS}); printf '{"apiVersion":"${V1}","kind":"ExecCredential","status":{"token":"t%s"}}' "$n"`,
    );
    const access = { ...stub.access, token: null };
    const client = new KubeClient(
      access,
      new Session(access),
      new PluginCredentials(access, plugin, false, never, TIMES),
    );
    const read = () =>
      client.read({ path: "/x", onChunk: () => undefined, silenceMs: 5_000, signal: AbortSignal.timeout(5_000) });
    try {
      const refused = read();
      const first = await stub.next();
      expect(first.headers["authorization"]).toBe("Bearer t1");
      answer(first, {}, 401);
      await expect(refused).rejects.toMatchObject({ status: 401 });
      const good = read();
      const second = await stub.next();
      expect(second.headers["authorization"]).toBe("Bearer t2");
      answer(second, {});
      await good;
    } finally {
      client.close();
      await stub.close();
    }
  });

  test.each<readonly [string, CredentialPlugin, string]>([
    [
      "is missing",
      { ...program("x", ""), command: "sallyport-no-such-login", installHint: "get it from IT\nand so on" },
      "is not there: get it from IT",
    ],
    ["fails", program("fails", "exit 3"), "failed (exit status 3): log in with it again"],
    ["prints no JSON", program("prose", "echo hello"), "what it prints is no JSON"],
    ["prints something else", program("other", `echo '{"kind":"Pod"}'`), "it prints no ExecCredential"],
    [
      "speaks another version",
      program("older", gives({ token: "t" }, `${V1}alpha1`)),
      "it speaks `client.authentication.k8s.io/v1alpha1`",
    ],
    ["gives nothing", program("nothing", gives({})), "neither a token nor a client certificate"],
    ["gives half", program("half", gives({ clientKeyData: "K" })), "come together"],
    [
      "gives a time that is none",
      program("time", gives({ token: "t", expirationTimestamp: "soon" })),
      "`expirationTimestamp` is no time",
    ],
    ["has no end", program("endless", "yes '{}'"), "talks without an end"],
    ["has to ask somebody", program("asks", "", { interactive: "Always" }), "there is no terminal"],
  ])("that %s", async (_, plugin, message) => {
    const read = credentials(plugin).read(false);
    await expect(read).rejects.toThrow(message);
    await expect(read).rejects.toBeInstanceOf(CredentialError);
  });

  test("that nobody waits for any more is ended", async () => {
    const stop = new AbortController();
    const source = new PluginCredentials(ACCESS, program("waits", "sleep 30"), false, stop.signal, TIMES);
    const read = source.read(false);
    setTimeout(() => stop.abort(), 100);
    await expect(read).rejects.toThrow("failed (SIGTERM)");
  });

  test("that hangs is ended, by force if need be", async () => {
    const pid = join(folder, "pid");
    const source = credentials(program("hangs", `trap '' TERM\necho $$ > ${pid}\nwhile :; do sleep 0.05; done`), {
      ...TIMES,
      aloneMs: 300,
    });
    await expect(source.read(false)).rejects.toThrow("gave no credential within 0.3 s");
    expect(existsSync(`/proc/${readFileSync(pid, "utf8").trim()}`)).toBe(false);
  });
});
