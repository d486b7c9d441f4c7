import { type ClientHttp2Session, connect, constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterAccess, Credentials } from "./access.ts";
import { Backoff } from "./backoff.ts";

export interface SessionTimes {
  /** A connection that is not made by then is given up. */
  readonly connectMs: number;
  /** How often the server is asked whether it is still there, below HTTP: this is no API request. */
  readonly pingEveryMs: number;
  /** How long its answer may take: beyond it the connection is half open, and ended. */
  readonly pongMs: number;
}

export const SESSION_TIMES: SessionTimes = { connectMs: 10_000, pingEveryMs: 30_000, pongMs: 15_000 };

/** Node's default of 64 KiB would make a list of thousands of objects wait for many round trips. */
const WINDOW_BYTES = 1024 * 1024;

/**
 * The one connection to the API server that all watches share (HTTP/2, RFC 9113): at 5,000 nodes ten watches each would
 * otherwise be 50,000 connections. Made when it is asked for; while the server is away one attempt at a time is made for all who wait.
 */
export class Session {
  readonly #access: ClusterAccess;
  readonly #times: SessionTimes;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #session: ClientHttp2Session | null = null;
  #credentials: Credentials | null = null;
  #connecting: Promise<ClientHttp2Session> | null = null;
  /** Connections made. */
  connects = 0;

  constructor(access: ClusterAccess, times: SessionTimes = SESSION_TIMES, backoff = new Backoff()) {
    this.#access = access;
    this.#times = times;
    this.#backoff = backoff;
  }

  get open(): boolean {
    return this.#session !== null && !this.#session.closed && !this.#session.destroyed;
  }

  /** @throws Error why there is no connection; the next attempt is then put off by itself */
  async get(credentials: Credentials): Promise<ClientHttp2Session> {
    this.#stop.signal.throwIfAborted();
    const session = this.#session;
    if (session !== null && this.open) {
      if (sameTls(credentials, this.#credentials)) return session;
      // Streams that run go on to their end on the old certificate.
      session.close();
    }
    this.#connecting ??= this.#connect(credentials).finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  /** Ends every connection: the one in use, one that is being made, and those that only go on to the end of their streams. */
  close(): void {
    this.#stop.abort(new Error("closed"));
  }

  async #connect(credentials: Credentials): Promise<ClientHttp2Session> {
    const { signal } = this.#stop;
    await sleep(this.#backoff.pause(), undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
    try {
      const session = await this.#open(credentials);
      this.#session = session;
      this.#credentials = credentials;
      this.connects++;
      this.#backoff.worked();
      return session;
    } catch (error) {
      this.#backoff.failed();
      throw error;
    }
  }

  #open({ ca, certificate, key }: Credentials): Promise<ClientHttp2Session> {
    const { server, serverName } = this.#access;
    const session = connect(new URL(server).origin, {
      ...(ca === null ? {} : { ca }),
      ...(certificate === null || key === null ? {} : { cert: certificate, key }),
      ...(serverName === null ? {} : { servername: serverName }),
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
    });
    const { signal } = this.#stop;
    const stopped = (): void => session.destroy();
    signal.addEventListener("abort", stopped);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => session.destroy(new Error("no connection within its time")), this.#times.connectMs);
      // Destroyed without an error it would still leave who waits without an answer.
      session.once("close", () => {
        clearTimeout(late);
        signal.removeEventListener("abort", stopped);
        reject(new Error("the connection was closed"));
      });
      session.on("error", reject);
      session.once("connect", () => {
        clearTimeout(late);
        session.setLocalWindowSize(WINDOW_BYTES * 4);
        this.#watchOver(session);
        resolve(session);
      });
    });
  }

  /** A connection whose other end is gone without a word looks like one on which nothing happens. */
  #watchOver(session: ClientHttp2Session): void {
    let asked = false;
    let late: NodeJS.Timeout | undefined;
    const timer = setInterval(() => {
      if (asked || session.destroyed) return;
      asked = true;
      late = setTimeout(
        () => session.destroy(new Error("the API server does not answer on this connection"), constants.NGHTTP2_CANCEL),
        this.#times.pongMs,
      );
      session.ping(() => {
        asked = false;
        clearTimeout(late);
      });
    }, this.#times.pingEveryMs);
    session.once("close", () => {
      clearInterval(timer);
      clearTimeout(late);
      // A server that restarts has lost all nodes at once: they come back one after the other.
      this.#backoff.failed();
    });
  }
}

/** Whether a connection made with one would be made alike with the other; a token is sent with each request. */
function sameTls(a: Credentials, b: Credentials | null): boolean {
  return b !== null && a.ca === b.ca && a.certificate === b.certificate && a.key === b.key;
}
