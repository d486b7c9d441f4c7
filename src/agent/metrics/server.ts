import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { type Logger, RateLimit } from "../log.ts";
import { formatListen, type ListenAddress } from "./listen-address.ts";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** What answers for a path; the header `Accept` comes with it. */
export type Route = (accept: string) => Answer | Promise<Answer>;

const MOST_CONNECTIONS = 32;
const MOST_HEADER_BYTES = 8 * 1024;
const MOST_REQUESTS_PER_CONNECTION = 1_000;
const IDLE_LIMIT_MS = 30_000;
const CLOSE_LIMIT_MS = 300;
const TROUBLE_EVERY_MS = 60_000;
const PLAIN = "text/plain; charset=utf-8";

export interface Pace {
  /** How long a request may take to arrive, and a connection may be silent between two. */
  readonly requestMs: number;
  /** How long an address that is taken is left alone. */
  readonly tryAgainMs: number;
}

const PACE: Pace = { requestMs: 3_000, tryAgainMs: 2_000 };

/**
 * A small HTTP server for scrapers and probes: GET and HEAD, bounded in connections, bytes and time. It runs in the main
 * thread, which gives no verdicts. An address that is taken (by the agent before this one) is tried again: that nobody can
 * ask is no reason not to enforce.
 */
export class MetricsServer {
  readonly #server: Server;
  readonly #address: ListenAddress;
  readonly #log: Logger;
  readonly #pace: Pace;
  readonly #troubles = new RateLimit(TROUBLE_EVERY_MS);
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(address: ListenAddress, routes: ReadonlyMap<string, Route>, log: Logger, pace = PACE) {
    this.#address = address;
    this.#log = log;
    this.#pace = pace;
    this.#server = createServer(
      {
        maxHeaderSize: MOST_HEADER_BYTES,
        headersTimeout: pace.requestMs,
        requestTimeout: pace.requestMs,
        keepAliveTimeout: pace.requestMs,
        connectionsCheckingInterval: pace.requestMs / 3,
      },
      (request, response) => void answer(routes, request, response),
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
    this.#server.maxRequestsPerSocket = MOST_REQUESTS_PER_CONNECTION;
    this.#server.setTimeout(IDLE_LIMIT_MS);
    this.#server.on("error", (error: NodeJS.ErrnoException) => void this.#failed(error));
    this.#server.on("listening", () => this.#log.info({ event: "listening", address: this.#where() }));
  }

  /** Begins to listen; does not wait for it and does not fail. */
  start(): void {
    const { kind } = this.#address;
    if (kind === "unix") this.#server.listen({ path: this.#address.path });
    else this.#server.listen({ host: this.#address.host, port: this.#address.port });
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT_MS).unref())]);
    this.#server.closeAllConnections();
  }

  async #failed(error: NodeJS.ErrnoException): Promise<void> {
    if (this.#closed || this.#server.listening) return;
    const suppressed = this.#troubles.allow(performance.now());
    const address = formatListen(this.#address);
    if (error.code === "EADDRINUSE" && this.#address.kind === "unix" && (await removeDead(this.#address.path))) {
      return this.start();
    }
    if (suppressed !== null) {
      this.#log.warn(
        { event: "listen-failed", address, error: error.message, suppressed },
        "metrics and status cannot be asked for here; trying again",
      );
    }
    if (!this.#closed) this.#timer = setTimeout(() => this.start(), this.#pace.tryAgainMs);
  }

  /** With the port that the system chose where 0 was asked for. */
  #where(): string {
    const bound = this.#server.address();
    if (this.#address.kind === "unix" || bound === null || typeof bound === "string")
      return formatListen(this.#address);
    return formatListen({ ...this.#address, port: bound.port });
  }
}

async function answer(
  routes: ReadonlyMap<string, Route>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, type, text } = await find(routes, request);
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Length", Buffer.byteLength(text));
  response.setHeader("Cache-Control", "no-store");
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (status === 405) response.setHeader("Allow", "GET, HEAD");
  // A body is not read: the connection ends with the answer.
  if (status >= 400 && status !== 503) response.setHeader("Connection", "close");
  response.writeHead(status);
  response.end(request.method === "HEAD" ? undefined : text);
}

async function find(routes: ReadonlyMap<string, Route>, request: IncomingMessage): Promise<Answer> {
  const { method, url = "", headers } = request;
  if (method !== "GET" && method !== "HEAD") return plain(405, "only GET and HEAD are answered");
  if (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined) {
    return plain(400, "a body is not taken");
  }
  const route = routes.get(url.split("?")[0] ?? "");
  if (route === undefined) return plain(404, `not here; there are: ${[...routes.keys()].join(", ")}`);
  try {
    return await route(headers.accept ?? "");
  } catch (error) {
    return plain(500, error instanceof Error ? error.message : String(error));
  }
}

/** One line of text. */
export function plain(status: number, line: string): Answer {
  return { status, type: PLAIN, text: `${line}\n` };
}

/** Removes a socket that an agent left which is gone. False: somebody listens there, or it is none of ours. */
function removeDead(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path, timeout: 1_000 });
    const over = (dead: boolean): void => {
      socket.destroy();
      resolve(dead && remove(path));
    };
    socket.once("connect", () => over(false));
    socket.once("timeout", () => over(false));
    socket.once("error", (error: NodeJS.ErrnoException) => over(error.code === "ECONNREFUSED"));
  });
}

function remove(path: string): boolean {
  try {
    if (!lstatSync(path).isSocket()) return false;
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
}
