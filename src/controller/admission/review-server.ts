import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { type Logger, RateLimit } from "../../agent/log.ts";
import { formatListen, type ListenAddress } from "../../agent/metrics/listen-address.ts";
import type { ServingPair } from "./certificate.ts";
import { FairShares, type Holding } from "./fair-shares.ts";
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
  /** Of all bodies that are read or wait to be judged. Where it runs out, the address that has the most of them loses one. */
  readonly allBytes: number;
  /** Where they run out, the address that has the most of them loses one. */
  readonly connections: number;
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

/** `from`: the address that asks; `gone`: nobody waits for the answer any more. Null: it cannot be judged here and now. */
export type Judge = (body: Uint8Array, from: string, gone: AbortSignal) => Promise<ReviewResult | null>;

/** A request whose body is read or waits to be judged. */
interface Asked extends Holding {
  readonly drop: (refusal: Refusal) => void;
}

interface Connection extends Holding {
  readonly socket: Socket;
}

/**
 * The HTTPS server that the API server asks. Whoever reaches the port can ask as well, and API servers do not say who they are: nothing is told
 * that the asker did not say, bytes, connections and times are bounded, and shared out by address.
 */
export class ReviewServer {
  readonly counts: ReviewCounts = { allowed: 0, denied: 0, refused: 0 };
  readonly #address: Extract<ListenAddress, { kind: "tcp" }>;
  readonly #judge: Judge;
  readonly #log: Logger;
  readonly #limits: ReviewLimits;
  readonly #troubles = new RateLimit(60_000);
  readonly #connections: FairShares<Connection>;
  readonly #bodies: FairShares<Asked>;
  #server: Server | null = null;
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
    this.#connections = new FairShares(limits.connections);
    this.#bodies = new FairShares(limits.allBytes);
  }

  get listening(): boolean {
    return this.#server?.listening === true;
  }

  /** The port it listens on; 0: it does not. */
  get port(): number {
    const bound = this.#server?.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }

  /** Of all bodies that are read or wait to be judged. */
  get bytes(): number {
    return this.#bodies.size;
  }

  /** Serves this certificate from now on. Connections that are there go on. */
  use({ certificate, key, ca }: ServingPair): void {
    const credentials = { cert: certificate + ca, key, minVersion: "TLSv1.2" } as const;
    if (this.#server !== null) {
      this.#server.setSecureContext(credentials);
      return;
    }
    const { requestMs, idleMs } = this.#limits;
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
    if (this.#connections.countOf(from) >= this.#limits.connectionsOfOne) {
      this.counts.refused++;
      socket.destroy();
      return;
    }
    const connection = { from, socket };
    socket.once("close", () => this.#connections.release(connection));
    for (const one of this.#connections.grow(connection, 1)) {
      this.counts.refused++;
      one.socket.destroy();
    }
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const refusal = refusalOf(request, this.#limits);
    if (refusal === null) this.#read(request, response);
    else this.#refuse(response, ...refusal);
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    const gone = new AbortController();
    let size = 0;
    const asked: Asked = {
      from: request.socket.remoteAddress ?? "",
      drop: (refusal) => {
        chunks.length = 0;
        gone.abort();
        // Its answer may be on the way already.
        if (!response.headersSent) this.#refuse(response, ...refusal);
      },
    };
    request.on("data", (chunk: Buffer) => {
      if (response.writableEnded) return;
      size += chunk.length;
      chunks.push(chunk);
      if (size > this.#limits.bodyBytes) asked.drop(TOO_LARGE);
      else for (const one of this.#bodies.grow(asked, chunk.length)) one.drop(TOO_BUSY);
    });
    request.on("end", () => {
      if (!response.writableEnded) void this.#answer(Buffer.concat(chunks), asked.from, response, gone.signal);
    });
    request.on("error", () => undefined);
    // Answered, or given up by who asked.
    response.once("close", () => {
      gone.abort();
      this.#bodies.release(asked);
    });
  }

  async #answer(body: Buffer, from: string, response: ServerResponse, gone: AbortSignal): Promise<void> {
    const result = await this.#judge(body, from, gone);
    if (gone.aborted) return;
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
