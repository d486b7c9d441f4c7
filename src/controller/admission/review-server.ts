import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { type Logger, RateLimit } from "../../agent/log.ts";
import type { ListenAddress } from "../../agent/metrics/listen-address.ts";
import { formatListen } from "../../agent/metrics/listen-address.ts";
import type { ServingPair } from "./certificate.ts";
import type { ReviewAnswer } from "./review.ts";

/** Where reviews are posted. */
export const REVIEW_PATH = "/validate";

export interface ReviewLimits {
  /** An object has at most 3 MiB, and an update brings the one of before as well. */
  readonly bodyBytes: number;
  /** Of all bodies that are being read. */
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
  /** No reviews, or too large, or too many at once. */
  refused: number;
}

/**
 * The HTTPS server that the API server asks. Whoever reaches the port can ask as well: nothing is told that the asker did not say, and bytes,
 * connections and times are bounded.
 */
export class ReviewServer {
  readonly counts: ReviewCounts = { allowed: 0, denied: 0, refused: 0 };
  readonly #address: Extract<ListenAddress, { kind: "tcp" }>;
  readonly #judge: (review: unknown) => ReviewAnswer | null;
  readonly #log: Logger;
  readonly #limits: ReviewLimits;
  readonly #troubles = new RateLimit(60_000);
  readonly #connections = new Map<string, number>();
  #server: Server | null = null;
  #bytes = 0;
  #leaving = false;

  constructor(
    address: Extract<ListenAddress, { kind: "tcp" }>,
    judge: (review: unknown) => ReviewAnswer | null,
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
    if (this.#server !== null) return this.#server.setSecureContext(credentials);
    const { requestMs, idleMs, connections } = this.#limits;
    const server = createServer(
      {
        ...credentials,
        handshakeTimeout: requestMs,
        headersTimeout: requestMs,
        requestTimeout: requestMs,
        keepAliveTimeout: idleMs,
        connectionsCheckingInterval: requestMs / 3,
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
      this.#log.error({ event: "webhook-listen-failed", address, problem: error.message }, "what is written is not validated here");
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
    const { bodyBytes, allBytes } = this.#limits;
    if (request.url?.split("?")[0] !== REVIEW_PATH) return this.#refuse(response, 404, `not here; there is: ${REVIEW_PATH}`);
    if (request.method !== "POST") return this.#refuse(response, 405, "only POST is answered");
    if (Number(request.headers["content-length"] ?? 0) > bodyBytes) return this.#refuse(response, 413, "the review is too large");
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      if (response.writableEnded) return;
      size += chunk.length;
      this.#bytes += chunk.length;
      chunks.push(chunk);
      if (size <= bodyBytes && this.#bytes <= allBytes) return;
      chunks.length = 0;
      if (size > bodyBytes) this.#refuse(response, 413, "the review is too large");
      else this.#refuse(response, 503, "too many reviews at once: try again");
    });
    request.on("end", () => {
      if (!response.writableEnded) this.#answer(Buffer.concat(chunks).toString("utf8"), response);
    });
    request.on("error", () => undefined);
    request.once("close", () => {
      this.#bytes -= size;
    });
  }

  #answer(text: string, response: ServerResponse): void {
    let answer: ReviewAnswer | null = null;
    try {
      answer = this.#judge(JSON.parse(text));
    } catch {
      // No JSON.
    }
    if (answer === null) return this.#refuse(response, 400, "this is no AdmissionReview of admission.k8s.io/v1");
    this.counts[answer.response.allowed ? "allowed" : "denied"]++;
    if (this.#leaving) response.setHeader("Connection", "close");
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  }

  /** The rest of the request is not read: the connection ends with the answer. */
  #refuse(response: ServerResponse, status: number, line: string): void {
    this.counts.refused++;
    response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", Connection: "close" }).end(`${line}\n`);
  }
}
