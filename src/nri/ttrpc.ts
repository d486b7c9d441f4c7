import { readFields, textOf, WireWriter } from "./wire.ts";

/**
 * ttrpc (containerd/ttrpc, PROTOCOL.md): ten bytes, then a message. Only calls of one request and one response, which is all that NRI has.
 */
const HEADER = 10;
const MOST = 4 << 20;
const LONGEST_NAME = 256;
const LONGEST_TROUBLE = 1_024;

export const MESSAGE = { request: 1, response: 2 } as const;

/** Codes of gRPC. */
export const CODE = { ok: 0, invalidArgument: 3, unimplemented: 12 } as const;

export interface Message {
  /** Odd: of a call that who connects to the service made. */
  readonly stream: number;
  readonly type: number;
  readonly payload: Uint8Array;
}

export interface Request {
  readonly service: string;
  readonly method: string;
  readonly payload: Uint8Array;
}

export interface Response {
  readonly code: number;
  readonly trouble: string;
  readonly payload: Uint8Array;
}

/** Takes the messages out of a stream. It keeps one unfinished message at most, 4 MiB. */
export class TtrpcReader {
  readonly #onMessage: (message: Message) => void;
  readonly #header = new Uint8Array(HEADER);
  /** What is being filled: the header, or the payload that it told of. */
  #filling = this.#header;
  #filled = 0;

  constructor(onMessage: (message: Message) => void) {
    this.#onMessage = onMessage;
  }

  /** @returns what is wrong with the stream, one line; null: nothing */
  read(bytes: Uint8Array): string | null {
    let at = 0;
    while (at < bytes.length) {
      const piece = bytes.subarray(at, at + this.#filling.length - this.#filled);
      this.#filling.set(piece, this.#filled);
      this.#filled += piece.length;
      at += piece.length;
      if (this.#filled < this.#filling.length) break;
      if (this.#filling === this.#header) {
        const length = new DataView(this.#header.buffer).getUint32(0);
        if (length > MOST) return `a message of ${length} bytes is larger than ttrpc allows`;
        this.#fill(new Uint8Array(length));
        if (length > 0) continue;
      }
      const message = {
        stream: new DataView(this.#header.buffer).getUint32(4),
        type: this.#header[8]!,
        payload: this.#filling,
      };
      this.#fill(this.#header);
      this.#onMessage(message);
    }
    return null;
  }

  #fill(bytes: Uint8Array<ArrayBuffer>): void {
    this.#filling = bytes;
    this.#filled = 0;
  }
}

export function writeMessage({ stream, type, payload }: Message): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length);
  view.setUint32(4, stream);
  bytes[8] = type;
  bytes.set(payload, HEADER);
  return bytes;
}

/** @returns null: it cannot be read */
export function readRequest(bytes: Uint8Array): Request | null {
  let service: string | null = "";
  let method: string | null = "";
  let payload: Uint8Array = new Uint8Array();
  const whole = readFields(bytes, (field, value) => {
    if (field === 1) service = textOf(value, LONGEST_NAME);
    else if (field === 2) method = textOf(value, LONGEST_NAME);
    else if (field === 3 && typeof value !== "number") payload = value;
  });
  return whole && service !== null && method !== null ? { service, method, payload } : null;
}

export function writeRequest({ service, method, payload }: Request): Uint8Array {
  return new WireWriter().text(1, service).text(2, method).bytes(3, payload).end();
}

/** @returns null: it cannot be read */
export function readResponse(bytes: Uint8Array): Response | null {
  let code = 0;
  let trouble = "";
  let payload: Uint8Array = new Uint8Array();
  let whole = true;
  const read = readFields(bytes, (field, value) => {
    if (typeof value === "number") return;
    if (field === 2) payload = value;
    if (field !== 1) return;
    whole = readFields(value, (part, word) => {
      if (part === 1 && typeof word === "number") code = word;
      else if (part === 2) trouble = textOf(word, LONGEST_TROUBLE) ?? "";
    });
  });
  return read && whole ? { code, trouble, payload } : null;
}

export function writeResponse({ code, trouble, payload }: Response): Uint8Array {
  const status = new WireWriter().number(1, code).text(2, trouble.slice(0, LONGEST_TROUBLE)).end();
  return new WireWriter().bytes(1, status).bytes(2, payload).end();
}
