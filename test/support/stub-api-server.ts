import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterAccess } from "../../src/kube/access.ts";

/** One request as the server got it. */
export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly stream: ServerHttp2Stream;
}

/** Answers requests over HTTP/2 and TLS exactly as a test tells it to: it can be silent, cut, and wrong. */
export class StubApiServer {
  readonly asked: Asked[] = [];
  readonly #server: Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #waiting: (() => void)[] = [];
  #port = 0;
  readonly ca: string;

  private constructor(ca: string, key: string) {
    this.ca = ca;
    this.#server = createSecureServer({ key, cert: ca });
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
      session.on("error", () => undefined);
    });
    this.#server.on("stream", (stream, headers) => {
      stream.on("error", () => undefined);
      const url = new URL(headers[":path"] ?? "/", "https://stub");
      this.asked.push({ method: headers[":method"] ?? "", url, headers, stream });
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.#server.on("sessionError", () => undefined);
  }

  static async start(): Promise<StubApiServer> {
    const folder = mkdtempSync(join(tmpdir(), "sallyport-stub-"));
    try {
      const [key, ca] = [join(folder, "key.pem"), join(folder, "ca.pem")];
      const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"];
      const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
      execFileSync("openssl", ["req", "-x509", ...kind, ...name, "-keyout", key, "-out", ca], { stdio: "ignore" });
      const stub = new StubApiServer(readFileSync(ca, "utf8"), readFileSync(key, "utf8"));
      await stub.listen();
      return stub;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** The same port as before, if it had one. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get access(): ClusterAccess {
    const server = `https://127.0.0.1:${this.#port}`;
    return { server, serverName: null, ca: { text: this.ca }, certificate: null, key: null, token: { text: "secret" } };
  }

  /** The next request that no `next` was given yet. */
  async next(): Promise<Asked> {
    while (this.asked.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.asked.shift()!;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Nobody listens any more, and every connection is cut. */
  async away(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.away();
  }
}

export function answer({ stream }: Asked, body: unknown, status = 200, headers: Record<string, string> = {}): void {
  stream.respond({ ":status": status, "content-type": "application/json", ...headers });
  stream.end(JSON.stringify(body));
}

/** Begins to answer a watch; the stream is written to, line by line. */
export function openWatch({ stream }: Asked): (type: string, object: unknown) => void {
  stream.respond({ ":status": 200, "content-type": "application/json" });
  return (type, object) => void stream.write(`${JSON.stringify({ type, object })}\n`);
}

export function listOf(version: string, items: readonly unknown[], more = ""): object {
  return { kind: "PodList", metadata: { resourceVersion: version, continue: more }, items };
}

export function pod(name: string, uid: string, label = "", version = "1"): Record<string, unknown> {
  const metadata = {
    name,
    namespace: "ns",
    uid,
    resourceVersion: version,
    labels: { label },
    managedFields: [{ f: 1 }],
  };
  return { metadata, spec: { nodeName: "node1", containers: [{ name: '"items": [{' }] } };
}
