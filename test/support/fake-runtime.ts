import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

/**
 * The runtime's side of NRI over a real socket, written from api.proto, multiplex and ttrpc's PROTOCOL.md, and with none of the agent's
 * own code: accepts one plug-in, waits for it to register, configures and synchronizes it, then asks what a test says.
 */
export class FakeRuntime {
  readonly path: string;
  readonly #server: Server;
  #socket: Socket | null = null;
  #buffer = Buffer.alloc(0);
  #stream = 1;
  readonly #answers = new Map<number, (payload: Buffer) => void>();
  /** What plug-ins registered as, in order. */
  readonly registered: string[] = [];
  /** The events that the last one subscribed. */
  events = 0;
  /** Pods as Synchronize tells them. */
  pods: readonly Buffer[] = [];
  requestTimeout = 2_000;
  /** Messages of Synchronize, all but the last with `more`. */
  parts = 1;
  /** What is asked as RunPodSandbox and StopPodSandbox before Synchronize. */
  early: Buffer | null = null;

  private constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async listen(
    path: string,
    settings: Partial<Pick<FakeRuntime, "pods" | "requestTimeout" | "parts" | "early">> = {},
  ) {
    rmSync(path, { force: true });
    const runtime = Object.assign(new FakeRuntime(path), settings);
    runtime.#server.listen(path);
    await once(runtime.#server, "listening");
    return runtime;
  }

  /** Asks the plug-in. @returns the payload of its answer; rejects with the status if it has one */
  ask(method: string, payload: Buffer, service = "nri.pkg.api.v1alpha1.Plugin"): Promise<Buffer> {
    const request = Buffer.concat([field(1, text(service)), field(2, text(method)), field(3, payload)]);
    const stream = this.#stream;
    this.#stream += 2;
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#answers.set(stream, (response) => {
        const parts = fieldsOf(response);
        const status = parts.get(1);
        const code = status === undefined ? undefined : fieldsOf(status).get(1);
        if (code === undefined) resolve(parts.get(2) ?? Buffer.alloc(0));
        else reject(new Error(`status ${code.readUInt8()}`));
      });
    });
    this.raw(piece(1, message(stream, 1, request)));
    return answer;
  }

  /** Bytes as they are. */
  raw(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  /** Reads nothing any more. */
  deaf(): void {
    this.#socket?.pause();
  }

  /** Ends the connection, not the runtime. */
  hangUp(): void {
    this.#socket?.destroy();
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.#socket = socket;
    this.#buffer = Buffer.alloc(0);
    this.#stream = 1;
    this.#answers.clear();
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      while (this.#buffer.length >= 8 && this.#buffer.length >= 8 + this.#buffer.readUInt32BE(4)) {
        const length = this.#buffer.readUInt32BE(4);
        const connection = this.#buffer.readUInt32BE(0);
        // As the runtime's reader: one piece holds at most what its buffer has room for.
        if (length > 4096) return socket.destroy();
        this.#message(connection, this.#buffer.subarray(8, 8 + length));
        this.#buffer = this.#buffer.subarray(8 + length);
      }
      return undefined;
    });
  }

  #message(connection: number, bytes: Buffer): void {
    const stream = bytes.readUInt32BE(4);
    const payload = bytes.subarray(10, 10 + bytes.readUInt32BE(0));
    if (connection === 1) {
      this.#answers.get(stream)?.(payload);
      this.#answers.delete(stream);
      return;
    }
    const register = fieldsOf(fieldsOf(payload).get(3)!);
    this.registered.push(`${register.get(2)}-${register.get(1)}`);
    this.raw(piece(2, message(stream, 2, Buffer.alloc(0))));
    void this.#begin().catch(() => undefined);
  }

  async #begin(): Promise<void> {
    const configure = [field(2, text("containerd")), field(3, text("v2.4.2")), number(5, this.requestTimeout)];
    const configured = await this.ask("Configure", Buffer.concat(configure));
    this.events = fieldsOf(configured).get(2)!.readUInt8();
    for (const method of this.early === null ? [] : ["RunPodSandbox", "StopPodSandbox"])
      await this.ask(method, this.early!);
    const size = Math.ceil(this.pods.length / this.parts);
    for (let part = 0; part < this.parts; part++) {
      const some = this.pods.slice(part * size, (part + 1) * size).map((pod) => field(1, pod));
      await this.ask("Synchronize", Buffer.concat([...some, number(3, part < this.parts - 1 ? 1 : 0)]));
    }
  }
}

export interface ToldPod {
  readonly id: string;
  readonly uid: string;
  readonly ips: readonly string[];
  readonly source?: string;
  readonly pid?: number;
}

export function podMessage({ id, uid, ips, source = "api", pid = 7 }: ToldPod): Buffer {
  return Buffer.concat([
    field(1, text(id)),
    field(2, text("pod")),
    field(3, text(uid)),
    field(4, text("team")),
    field(6, Buffer.concat([field(1, text("kubernetes.io/config.source")), field(2, text(source))])),
    number(9, pid),
    ...ips.map((ip) => field(10, text(ip))),
  ]);
}

/** RunPodSandbox, StopPodSandbox and RemovePodSandbox. */
export function podRequest(pod: ToldPod): Buffer {
  return field(1, podMessage(pod));
}

export function stateChange(event: number, pod: ToldPod): Buffer {
  return Buffer.concat([number(1, event), field(2, podMessage(pod))]);
}

export function piece(connection: number, bytes: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(connection, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

export function message(stream: number, type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(stream, 4);
  header.writeUInt8(type, 8);
  return Buffer.concat([header, payload]);
}

function text(value: string): Buffer {
  return Buffer.from(value, "utf8");
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 127) | 128);
  }
}

function field(index: number, value: Buffer): Buffer {
  return Buffer.concat([varint((index << 3) | 2), varint(value.length), value]);
}

function number(index: number, value: number): Buffer {
  return value === 0 ? Buffer.alloc(0) : Buffer.concat([varint(index << 3), varint(value)]);
}

/** By number, the last of each; a varint as its bytes. */
function fieldsOf(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const key = bytes[at++]!;
    if ((key & 7) === 0) {
      const from = at;
      while (bytes[at++]! >= 128);
      found.set(key >> 3, bytes.subarray(from, at));
    } else {
      let length = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[at++]!;
        length |= (byte & 127) << shift;
        if (byte < 128) break;
      }
      found.set(key >> 3, bytes.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}
