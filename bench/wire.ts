/** The bytes that the load generators send and the servers answer: real where the gate reads them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";

/** Behind twelve addresses of the lab's outside; the client resolves it once, through the gate. */
export const SITE = "pool.github.com";
/** No policy allows it, and no rival's rules do. */
export const DENIED_SITE = "www.evil.example";
/** What an allowed request asks for begins so. */
export const PATH = "/v1/items/42?page=1";
export const DENIED_PATH = "/admin";
export const BODY_BYTES = 1024;

export interface WireFile {
  readonly path: string;
  readonly length: number;
}

export type WireName =
  | "hello"
  | "helloLarge"
  | "helloDenied"
  | "get"
  | "getDenied"
  | "question"
  | "ping"
  | "tlsReply"
  | "httpReply"
  | "plainReply";

export type Wire = Readonly<Record<WireName, WireFile>>;

/** Writes every file into a folder. The hellos are OpenSSL's own, taken from a connection to this very process. */
export async function writeWire(folder: string): Promise<Wire> {
  mkdirSync(folder, { recursive: true });
  const classical = "X25519:P-256";
  const bytes: Record<WireName, Buffer> = {
    hello: await clientHello(SITE, classical),
    helloLarge: await clientHello(SITE, "X25519MLKEM768:X25519"),
    helloDenied: await clientHello(DENIED_SITE, classical),
    get: request(PATH),
    getDenied: request(DENIED_PATH),
    question: question(),
    ping: Buffer.from("SSH-2.0-bench\r\n"),
    tlsReply: serverReply(),
    httpReply: Buffer.concat([
      Buffer.from(
        `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${BODY_BYTES}\r\nConnection: keep-alive\r\n\r\n`,
      ),
      Buffer.alloc(BODY_BYTES, "x"),
    ]),
    plainReply: Buffer.alloc(BODY_BYTES, "x"),
  };
  const entries = Object.entries(bytes).map(([name, data]) => {
    const path = join(folder, `${name}.bin`);
    writeFileSync(path, data);
    return [name, { path, length: data.length }];
  });
  return Object.fromEntries(entries) as Wire;
}

/** The first flight of a TLS 1.3 client with this server name and these groups; the first one carries the key share. */
export function clientHello(name: string, groups: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      let data = Buffer.alloc(0);
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => {
        data = Buffer.concat([data, chunk]);
        if (data.length < 5 || data.length < 5 + data.readUInt16BE(3)) return;
        resolve(data);
        socket.destroy();
        server.close();
      });
    });
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      const client = connect({ host: "127.0.0.1", port, servername: name, ecdhCurve: groups, ALPNProtocols: ["h2"] });
      client.on("error", () => undefined);
    });
  });
}

/** A ServerHello (RFC 8446 §4.1.3), ChangeCipherSpec, and 1 KB of application data. What is encrypted is not: nobody opens it. */
export function serverReply(): Buffer {
  const extensions = Buffer.concat([
    Buffer.from("002b00020304", "hex"),
    Buffer.from("00330024001d0020", "hex"),
    Buffer.alloc(32, 7),
  ]);
  const body = Buffer.concat([
    Buffer.from("0303", "hex"),
    Buffer.alloc(32, 5),
    Buffer.from([32]),
    Buffer.alloc(32, 6),
    Buffer.from("130100", "hex"),
    sized(extensions, 2),
  ]);
  const handshake = Buffer.concat([Buffer.from([2]), sized(body, 3)]);
  const record = (type: number, data: Buffer) => Buffer.concat([Buffer.from([type, 3, 3]), sized(data, 2)]);
  return Buffer.concat([record(22, handshake), record(20, Buffer.from([1])), record(23, Buffer.alloc(BODY_BYTES, 9))]);
}

function sized(data: Buffer, bytes: 2 | 3): Buffer {
  const length = Buffer.alloc(bytes);
  length.writeUIntBE(data.length, 0, bytes);
  return Buffer.concat([length, data]);
}

function request(target: string): Buffer {
  return Buffer.from(
    `GET ${target} HTTP/1.1\r\nHost: ${SITE}\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nX-Request-Id: 7b1f0c52-6f0e-4f5e-9d0b-3e2a1c9d8e7f\r\n\r\n`,
  );
}

/** `q000000.github.com A`; the load generator counts in the digits. */
function question(): Buffer {
  const labels = ["q000000", "github", "com"].map((label) =>
    Buffer.from(`${String.fromCharCode(label.length)}${label}`),
  );
  return Buffer.concat([Buffer.from("000001000001000000000000", "hex"), ...labels, Buffer.from("0000010001", "hex")]);
}
