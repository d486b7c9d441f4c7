import { KubeError } from "./client.ts";

/** More than the API server stores of one object (1.5 MiB in etcd), however it is written. */
const MAX_OBJECT_BYTES = 8 * 1024 * 1024;
const MAX_ENVELOPE_BYTES = 256 * 1024;

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;
const BEFORE_ITEMS = /"items"\s*:\s*$/;

/** Cuts a watch into its lines, each at most `MAX_OBJECT_BYTES` long. */
export class LineCutter {
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #size = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** @throws KubeError when a line is too long: what it says of an object is lost, so all has to be listed again */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      this.#keep(chunk.subarray(from, at));
      const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#size = 0;
      if (line.length > 0) this.#onLine(line.toString("utf8"));
      from = at + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  #keep(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > MAX_OBJECT_BYTES) throw new LineTooLong();
    this.#parts.push(part);
  }
}

export class LineTooLong extends KubeError {
  constructor() {
    super(0, "an object is longer than any that an API server stores");
  }
}

/**
 * Cuts the body of a list into its items, each handed over alone: a page of hundreds of objects is never in memory as a
 * whole. What stands around the items is kept as the list's envelope.
 */
export class ItemCutter {
  readonly #onItem: (text: string) => void;
  #parts: Buffer[] = [];
  #size = 0;
  #envelope = "";
  #depth = 0;
  #inText = false;
  #escaped = false;
  #inItems = false;

  constructor(onItem: (text: string) => void) {
    this.#onItem = onItem;
  }

  /** The list without its items. @throws KubeError when the body is none, or has broken off */
  get envelope(): Readonly<Record<string, unknown>> {
    try {
      if (this.#depth !== 0 || this.#inText) throw new Error("broken off");
      const value: unknown = JSON.parse(this.#envelope);
      if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
    } catch {
      // Said below.
    }
    throw new KubeError(0, "the list is not whole");
  }

  /** @throws KubeError */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inText = false;
        continue;
      }
      if (byte === QUOTE) this.#inText = true;
      else if (byte === OPEN_MAP || byte === OPEN_LIST) {
        if (this.#depth === 1 && byte === OPEN_LIST) {
          this.#around(chunk.subarray(from, at));
          from = at;
          this.#inItems = BEFORE_ITEMS.test(this.#envelope);
        } else if (this.#depth === 2 && this.#inItems) {
          this.#around(chunk.subarray(from, at));
          from = at;
        }
        this.#depth++;
      } else if (byte === CLOSE_MAP || byte === CLOSE_LIST) {
        this.#depth--;
        if (this.#depth === 2 && this.#inItems) {
          this.#within(chunk.subarray(from, at + 1));
          from = at + 1;
          this.#take();
        } else if (this.#depth === 1) this.#inItems = false;
      }
    }
    if (from < chunk.length) {
      if (this.#inItems && this.#depth > 2) this.#within(chunk.subarray(from));
      else this.#around(chunk.subarray(from));
    }
  }

  #within(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > MAX_OBJECT_BYTES) throw new LineTooLong();
    this.#parts.push(part);
  }

  #take(): void {
    const text = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#size = 0;
    this.#onItem(text.toString("utf8"));
  }

  /** Commas between items are left out, so that the list stays one. */
  #around(part: Buffer): void {
    const text = part.toString("latin1");
    this.#envelope += this.#inItems ? text.replace(/[\s,]+/g, "") : text;
    if (this.#envelope.length > MAX_ENVELOPE_BYTES) throw new KubeError(0, "the list says too much beside its items");
  }
}
