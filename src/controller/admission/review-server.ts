import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { type Logger, RateLimit } from "../../agent/log.ts";
import { formatListen, type ListenAddress } from "../../agent/metrics/listen-address.ts";
import type { ServingPair } from "./certificate.ts";
import type { ReviewResult } from "./review-result.ts";

type Refusal = readonly [status: number, line: string];

const TOO_LARGE: Refusal = [413, "the review is too large"];
const TOO_BUSY: Refusal = [503, "this cannot be judged now: try again"];
const NO_REVIEW: Refusal = [400, "this is no AdmissionReview of admission.k8s.io/v1"];

/** Where reviews are posted. */
export const REVIEW_PATH = "/validate";

export interface ReviewLimits {
  /** An object has at most 3 MiB, and an update brings the one of before as well. */
  readonly bodyBytes: number;
  /** Of all bodies that are read or wait to be judged. */
  readonly allBytes: number;
  readonly connections: number;
  /** From one address: pods cannot take the place of the API server. */
  readonly connectionsOfOne: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
  /** How long a connection may be silent: longer than an API server keeps it, or it would be ended under a request. */
  readonly idleMs: number;
  /** How long a server that stops still answers who has not heard of it. */
  readonly leaveMs: number;
}

export const REVIEW_LIMITS: ReviewLimits = {
  bodyBytes: 8 * 1024 * 1024,
  allBytes: 32 * 1024 * 1024,
  connections: 256,
  connectionsOfOne: 64,
  requestMs: 5_000,
  idleMs: 120_000,
  leaveMs: 3_000,
};

export interface ReviewCounts {
  allowed: number;
  denied: number;
  /** No reviews, too large, or more than can be judged. */
  refused: number;
}

/** `from`: the address that asks. Null: it cannot be judged here and now. */
export type Judge = (body: Uint8Array, from: string) => Promise<ReviewResult | null>;

/**
 * The HTTPS server that the API server asks. Whoever reaches the port can ask as well: nothing is told that the asker did not say, and bytes,
 * connections and times are bounded.
 */
export class ReviewServer {
  readonly counts: ReviewCounts = { allowed: 0, denied: 0, refused: 0 };
  readonly #address: Extract<ListenAddress, { kind: "tcp" }>;
  readonly #judge: Judge;
  readonly #log: Logger;
  readonly #limits: ReviewLimits;
  readonly #troubles = new RateLimit(60_000);
  readonly #connections = new Map<string, number>();
  #server: Server | null = null;
  #bytes = 0;
  #leaving = false;

  constructor(
    address: Extract<ListenAddress, { kind: "tcp" }>,
    judge: Judge,
    log: Logger,
    limits: ReviewLimits = REVIEW_LIMITS,
  ) {
    this.#address = address;
    this.#judge = judge;
    this.#log = log;
    this.#limits = limits;
  }

  get listening(): boolean {
    return this.#server?.listening === true;
  }

  /** The port it listens on; 0: it does not. */
  get port(): number {
    const bound = this.#server?.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }

  /** Serves this certificate from now on. Connections that are there go on. */
  use({ certificate, key, ca }: ServingPair): void {
    const credentials = { cert: certificate + ca, key, minVersion: "TLSv1.2" } as const;
    if (this.#server !== null) {
      this.#server.setSecureContext(credentials);
      return;
    }
    const { requestMs, idleMs, connections } = this.#limits;
    const server = createServer(
      {
        ...credentials,
        handshakeTimeout: requestMs,
        headersTimeout: requestMs,
        requestTimeout: requestMs,
        keepAliveTimeout: idleMs,
        connectionsCheckingInterval: Math.ceil(requestMs / 3),
        maxHeaderSize: 8 * 1024,
      },
      (request, response) => this.#receive(request, response),
    );
    server.maxConnections = connections;
    server.on("connection", (socket: Socket) => this.#admit(socket));
    server.on("error", (error) => this.#failed(error));
    server.on("listening", () => this.#log.info({ event: "webhook-listening", address: formatListen(this.#address) }));
    this.#server = server;
    this.#listen();
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#leaving = true;
    if (server === null) return;
    if (server.listening) await new Promise((resolve) => setTimeout(resolve, this.#limits.leaveMs));
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #listen(): void {
    this.#server?.listen({ host: this.#address.host, port: this.#address.port });
  }

  #failed(error: Error): void {
    if (this.listening || this.#leaving) return;
    if (this.#troubles.allow(performance.now()) !== null) {
      const address = formatListen(this.#address);
      this.#log.error(
        { event: "webhook-listen-failed", address, problem: error.message },
        "what is written is not validated here",
      );
    }
    setTimeout(() => this.#leaving || this.#listen(), 2_000).unref();
  }

  #admit(socket: Socket): void {
    const from = socket.remoteAddress ?? "";
    const count = (this.#connections.get(from) ?? 0) + 1;
    if (count > this.#limits.connectionsOfOne) {
      this.counts.refused++;
      socket.destroy();
      return;
    }
    this.#connections.set(from, count);
    socket.once("close", () => {
      const left = (this.#connections.get(from) ?? 1) - 1;
      if (left > 0) this.#connections.set(from, left);
      else this.#connections.delete(from);
    });
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const refusal = refusalOf(request, this.#limits);
    if (refusal === null) this.#read(request, response);
    else this.#refuse(response, ...refusal);
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    const { bodyBytes, allBytes } = this.#limits;
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      if (response.writableEnded) return;
      size += chunk.length;
      this.#bytes += chunk.length;
      chunks.push(chunk);
      if (size <= bodyBytes && this.#bytes <= allBytes) return;
      chunks.length = 0;
      if (size > bodyBytes) this.#refuse(response, ...TOO_LARGE);
      else this.#refuse(response, ...TOO_BUSY);
    });
    request.on("end", () => {
      if (!response.writableEnded)
        void this.#answer(Buffer.concat(chunks), request.socket.remoteAddress ?? "", response);
    });
    request.on("error", () => undefined);
    // Answered, or given up by who asked.
    response.once("close", () => {
      this.#bytes -= size;
    });
  }

  async #answer(body: Buffer, from: string, response: ServerResponse): Promise<void> {
    const result = await this.#judge(body, from);
    if (response.destroyed) return;
    if (result === null || result.answer === null) {
      this.#refuse(response, ...(result === null ? TOO_BUSY : NO_REVIEW));
      return;
    }
    this.counts[result.allowed ? "allowed" : "denied"]++;
    if (this.#leaving) response.setHeader("Connection", "close");
    response.writeHead(200, { "Content-Type": "application/json" }).end(result.answer);
  }

  /** The rest of the request is not read: the connection ends with the answer. */
  #refuse(response: ServerResponse, status: number, line: string): void {
    this.counts.refused++;
    response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", Connection: "close" }).end(`${line}\n`);
  }
}

/** What can be said before the body has come; null: nothing. */
function refusalOf({ url, method, headers }: IncomingMessage, { bodyBytes }: ReviewLimits): Refusal | null {
  if (url?.split("?")[0] !== REVIEW_PATH) return [404, `not here; there is: ${REVIEW_PATH}`];
  if (method !== "POST") return [405, "only POST is answered"];
  return Number(headers["content-length"] ?? 0) > bodyBytes ? TOO_LARGE : null;
}
