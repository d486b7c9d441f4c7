import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { type ClusterAccess, CredentialReader, type CredentialSource } from "./access.ts";
import { Session } from "./session.ts";

/** Why a request has no good answer. `message` is one line. */
export class KubeError extends Error {
  /** HTTP status; 0: no answer at all, or one that broke off. */
  readonly status: number;
  /** What the server asked to wait; 0: it did not. */
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface Reading {
  /** Path with its query. */
  readonly path: string;
  /** Given piece by piece; what it throws ends the request. With a promise nothing more is read until it is kept. */
  readonly onChunk: (chunk: Buffer) => void | Promise<void>;
  /** The server has said yes. */
  readonly onOpen?: () => void;
  /** Media type that is asked for; JSON unless it is said. */
  readonly accept?: string;
  /** Silence of this length ends the request; Infinity: none does. */
  readonly silenceMs: number;
  readonly signal: AbortSignal;
}

export interface Writing {
  readonly method: "PATCH" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
  readonly timeoutMs: number;
}

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_RETRY_AFTER_MS = 300_000;

/** Requests to one API server, over one connection. */
export class KubeClient {
  readonly #credentials: CredentialSource;
  readonly #session: Session;
  readonly #prefix: string;
  readonly #headers: Readonly<Record<string, string | string[]>>;
  #refused = false;
  /** Requests made, of whatever kind. */
  requests = 0;
  /** When the server was last heard of, in milliseconds of Unix time; 0: never. */
  heardAt = 0;

  constructor(
    access: ClusterAccess,
    session = new Session(access),
    credentials: CredentialSource = new CredentialReader(access),
  ) {
    this.#credentials = credentials;
    this.#session = session;
    this.#headers = access.impersonation ?? {};
    this.#prefix = new URL(access.server).pathname.replace(/\/$/, "");
  }

  /** Connections made so far. */
  get connects(): number {
    return this.#session.connects;
  }

  /** The connection of before goes on: the server has not ended it, nor said that it will. */
  get connected(): boolean {
    return this.#session.open;
  }

  close(): void {
    this.#session.close();
  }

  /** A GET whose body is handed over as it comes; resolves at its end. Rejects with a KubeError. */
  async read(reading: Reading): Promise<void> {
    const { path, accept, signal } = reading;
    const stream = await this.#open("GET", path, accept === undefined ? {} : { accept }, signal);
    stream.end();
    return this.#follow(stream, reading);
  }

  /** Resolves to the body of the answer. Rejects with a KubeError. */
  async write({ method, path, contentType, body, timeoutMs }: Writing): Promise<string> {
    const signal = AbortSignal.timeout(timeoutMs);
    const stream = await this.#open(method, path, { "content-type": contentType }, signal);
    stream.end(body);
    const chunks: Buffer[] = [];
    let size = 0;
    await this.#follow(stream, {
      silenceMs: timeoutMs,
      signal,
      onChunk: (chunk) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) throw new KubeError(0, "the answer is too long");
        chunks.push(chunk);
      },
    });
    return Buffer.concat(chunks).toString("utf8");
  }

  async #open(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ClientHttp2Stream> {
    try {
      // A token that was refused may have been replaced a moment ago.
      const credentials = await this.#credentials.read(this.#refused);
      this.#refused = false;
      const session = await this.#session.get(credentials);
      signal.throwIfAborted();
      this.requests++;
      const all = {
        ":method": method,
        ":path": this.#prefix + path,
        accept: "application/json",
        "user-agent": "sallyport",
        ...headers,
        ...this.#headers,
        ...(credentials.token === null ? {} : { authorization: `Bearer ${credentials.token}` }),
      };
      // Else Node ends the stream of a DELETE before its body.
      return session.request(all, { endStream: false });
    } catch (error) {
      throw noAnswer(error);
    }
  }

  #follow(stream: ClientHttp2Stream, { silenceMs, signal, onChunk, onOpen }: Omit<Reading, "path">): Promise<void> {
    return new Promise((resolve, reject) => {
      let status = 0;
      let retryAfterMs = 0;
      let complaint = "";
      let failure: KubeError | null = null;
      const fail = (error: KubeError): void => {
        failure ??= error;
        stream.close(constants.NGHTTP2_CANCEL);
      };
      const tooSilent = (): void => fail(new KubeError(0, `no word for ${Math.round(silenceMs / 1000)} s`));
      const silent = Number.isFinite(silenceMs) ? setTimeout(tooSilent, silenceMs) : undefined;
      const take = (chunk: Buffer): void => {
        if (failure !== null) return;
        this.heardAt = Date.now();
        silent?.refresh();
        if (!isGood(status)) {
          if (complaint.length < MAX_ERROR_BYTES) complaint += chunk.toString("latin1");
          return;
        }
        const broken = (error: unknown): void =>
          fail(error instanceof KubeError ? error : new KubeError(0, String(error)));
        try {
          const kept = onChunk(chunk);
          if (kept === undefined) return;
          stream.pause();
          kept.then(() => stream.resume(), broken);
        } catch (error) {
          broken(error);
        }
      };
      const aborted = (): void => fail(new KubeError(0, "given up"));
      signal.addEventListener("abort", aborted);
      stream.on("response", (headers) => {
        status = headers[":status"] ?? 0;
        retryAfterMs = readRetryAfter(headers);
        this.heardAt = Date.now();
        silent?.refresh();
        if (status === 401) this.#refused = true;
        if (isGood(status)) onOpen?.();
        // Not before: what comes in one piece with the headers would be handed over ahead of them.
        stream.on("data", take);
      });
      stream.on("error", (error) => {
        failure ??= noAnswer(error);
      });
      let ended = false;
      stream.on("end", () => {
        ended = true;
      });
      stream.on("close", () => {
        clearTimeout(silent);
        signal.removeEventListener("abort", aborted);
        if (failure !== null) return reject(failure);
        if (status !== 0 && !isGood(status)) {
          return reject(new KubeError(status, `HTTP ${status}: ${whyOf(complaint)}`, retryAfterMs));
        }
        if (status === 0 || !ended || stream.rstCode !== constants.NGHTTP2_NO_ERROR) {
          return reject(new KubeError(0, "the connection was cut"));
        }
        resolve();
      });
    });
  }
}

function isGood(status: number): boolean {
  return status >= 200 && status < 300;
}

function noAnswer(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const said = new KubeError(0, (message || code || String(error)).split("\n")[0]!.slice(0, 300));
  said.cause = error;
  return said;
}

/** RFC 9110 §10.2.3, in seconds; the API server sends no dates. */
function readRetryAfter(headers: IncomingHttpHeaders): number {
  const seconds = Number(headers["retry-after"]);
  return seconds > 0 ? Math.min(seconds * 1000, MAX_RETRY_AFTER_MS) : 0;
}

/** The message of a `Status` object, or the beginning of what came instead. */
function whyOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === "string") return oneLine(message);
  } catch {
    // A proxy's page, or nothing.
  }
  return oneLine(body) || "no more was said";
}

function oneLine(text: string): string {
  return text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .slice(0, 300);
}
