import type { FlowKey } from "./flow-table.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/** One row. Words first, then the head of the last request, then host, method and path, one byte a character. */
const ROW_BYTES = 2048;
const HEAD_AT = 96;
const HEAD_ROOM = 1400;
const TEXT_AT = HEAD_AT + HEAD_ROOM;

/** Words of a row. */
const W = {
  client: 1,
  server: 5,
  ports: 9,
  /** Sequence number of the first byte of the last request that was allowed. */
  start: 11,
  /** Bytes of its head that are kept; what follows up to `length` is body, of which no copy is kept. */
  head: 12,
  length: 13,
  clientAck: 14,
  host: 15,
  method: 16,
  path: 17,
  nameHidden: 18,
  /** Milliseconds since the epoch, high and low. */
  timeHigh: 19,
  timeLow: 20,
} as const;

/** Then a word for each row, apart from them, so that rows that nobody took cost no memory. 0: nothing can be said of the flow. */
const HEADER_BYTES = 64;
const MAGIC = 0x53504831;
/** In the place of a length. */
const NULL = 0xffffffff;
const UNDEFINED = 0xfffffffe;
const HIGH = 0x1_0000_0000;
/** Of a request whose copy is told from its body by an offset. */
const LONGEST = 1 << 30;

/** What a row says of a flow whose every byte up to `start + length` was inspected, and none behind it was let go. */
export interface Boundary extends FlowKey {
  readonly start: number;
  readonly length: number;
  readonly head: Uint8Array;
  readonly clientAck: number;
  readonly host: string | null;
  readonly method: string | null;
  readonly path: string | null | undefined;
  readonly nameHidden: boolean;
  readonly time: number;
}

/** Bytes for so many rows. */
export function boundariesSize(rows: number): number {
  return HEADER_BYTES + rows * (4 + ROW_BYTES);
}

/** The word that says whether a row holds. */
function flagOf(row: number): number {
  return HEADER_BYTES / 4 + row;
}

/**
 * Where each kept HTTP connection stands between two requests, in memory that outlives the process (a mapped file). A row holds only
 * while nothing behind its boundary has been let go: it is written, and taken back, before the verdict that releases a byte
 * goes out. So who reads it after a kill knows the place of the next request for certain (DESIGN §4.4), whether or not the last
 * verdicts still went out: a packet that did not is sent again, and is held against the head that is kept here.
 */
export class RequestBoundaries {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #rows: number;
  readonly #free: number[] = [];
  readonly #perWorkload: number;
  readonly #counts = new Map<number, number>();

  /** `memory` may hold rows of an earlier agent; anything else in it is wiped. */
  constructor(memory: ArrayBuffer, perWorkload: number) {
    this.#words = new Int32Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.#rows = Math.floor((memory.byteLength - HEADER_BYTES) / (4 + ROW_BYTES));
    this.#perWorkload = perWorkload;
    if (this.#words[0] !== MAGIC || this.#words[1] !== ROW_BYTES || this.#words[2] !== this.#rows) {
      this.wipe();
      this.#words[1] = ROW_BYTES;
      this.#words[2] = this.#rows;
      Atomics.store(this.#words, 0, MAGIC);
    }
  }

  /** What an earlier agent left, by row. The rows stay taken until they are released; all others are free now. */
  begin(): Map<number, Boundary> {
    const found = new Map<number, Boundary>();
    for (let row = this.#rows - 1; row >= 0; row--) {
      const boundary = this.#read(row);
      if (boundary !== null) found.set(row, boundary);
      else this.#free.push(row);
    }
    return found;
  }

  wipe(): void {
    for (let row = 0; row < this.#rows; row++) this.open(row);
  }

  /** A row for a flow of the workload; -1: there is none, and the flow will be reset after a kill. */
  take(workloadId: number): number {
    const count = this.#counts.get(workloadId) ?? 0;
    if (count >= this.#perWorkload) return -1;
    const row = this.#free.pop();
    if (row === undefined) return -1;
    this.#counts.set(workloadId, count + 1);
    return row;
  }

  /** A row that `begin` found belongs to a flow again. */
  retake(workloadId: number): void {
    this.#counts.set(workloadId, (this.#counts.get(workloadId) ?? 0) + 1);
  }

  /** `workloadId`: -1 for a row that no flow of this agent took. */
  release(row: number, workloadId: number): void {
    this.open(row);
    this.#free.push(row);
    const count = this.#counts.get(workloadId);
    if (count === undefined) return;
    if (count <= 1) this.#counts.delete(workloadId);
    else this.#counts.set(workloadId, count - 1);
  }

  /** The row says something. */
  holds(row: number): boolean {
    return Atomics.load(this.#words, flagOf(row)) === 1;
  }

  /** Bytes go whose end is not known yet. */
  open(row: number): void {
    Atomics.store(this.#words, flagOf(row), 0);
  }

  /** The flow stands between two requests: nothing behind `client.bufferStart` has been let go. */
  write(row: number, flow: TcpFlow): void {
    const words = this.#words;
    const at = this.#at(row);
    // Last and first, so that a process that dies in between leaves no half row.
    Atomics.store(words, flagOf(row), 0);
    const { client } = flow;
    const base = at * 4;
    if (!this.#named(flow) && !this.#name(at, flow)) return;
    const length = client.bufferStart - flow.requestStart;
    const head = flow.requestHead;
    const kept = head > 0 && head <= HEAD_ROOM && length <= LONGEST;
    const copied = kept && client.copyKept(flow.requestStart, head, this.#bytes, base + HEAD_AT);
    words[at + W.start] = client.seqOf(copied ? flow.requestStart : client.bufferStart);
    words[at + W.head] = copied ? head : 0;
    words[at + W.length] = copied ? length : 0;
    words[at + W.clientAck] = flow.clientAck;
    words[at + W.timeHigh] = Math.floor(flow.requestAt / HIGH);
    words[at + W.timeLow] = Math.floor(flow.requestAt % HIGH) | 0;
    Atomics.store(words, flagOf(row), 1);
  }

  /** The row has been written with these facts before: most requests are like the one before. */
  #named({ notedFacts, facts }: TcpFlow): boolean {
    return (
      notedFacts !== null &&
      notedFacts.evidence === facts.evidence &&
      notedFacts.method === facts.method &&
      notedFacts.path === facts.path &&
      notedFacts.nameHidden === facts.nameHidden
    );
  }

  /** False: there is no room for the names. */
  #name(at: number, flow: TcpFlow): boolean {
    const words = this.#words;
    const { facts } = flow;
    const base = at * 4;
    flow.notedFacts = null;
    let text = base + TEXT_AT;
    text = this.#text(at + W.host, text, base + ROW_BYTES, facts.evidence);
    text = this.#text(at + W.method, text, base + ROW_BYTES, facts.method);
    text = this.#text(at + W.path, text, base + ROW_BYTES, facts.path);
    if (text < 0) return false;
    words[at + W.client] = flow.c0;
    words[at + W.client + 1] = flow.c1;
    words[at + W.client + 2] = flow.c2;
    words[at + W.client + 3] = flow.c3;
    words[at + W.server] = flow.s0;
    words[at + W.server + 1] = flow.s1;
    words[at + W.server + 2] = flow.s2;
    words[at + W.server + 3] = flow.s3;
    words[at + W.ports] = (flow.clientPort << 16) | flow.serverPort;
    words[at + W.nameHidden] = facts.nameHidden ? 1 : 0;
    const { evidence, method, path, nameHidden } = facts;
    flow.notedFacts = { evidence, method, path, nameHidden };
    return true;
  }

  #at(row: number): number {
    return (HEADER_BYTES + this.#rows * 4 + row * ROW_BYTES) / 4;
  }

  /** Where the next text goes; -1: it finds no room. */
  #text(word: number, from: number, last: number, text: string | null | undefined): number {
    if (from < 0) return -1;
    if (typeof text !== "string") {
      this.#words[word] = text === null ? NULL : UNDEFINED;
      return from;
    }
    if (from + text.length > last) return -1;
    this.#words[word] = text.length;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return -1;
      this.#bytes[from + i] = code;
    }
    return from + text.length;
  }

  /** Null: no row, or one that nobody can have written. */
  #read(row: number): Boundary | null {
    const at = this.#at(row);
    const words = this.#words;
    if (Atomics.load(words, flagOf(row)) !== 1) return null;
    const word = (index: number): number => words[at + index]! >>> 0;
    const head = word(W.head);
    const length = word(W.length);
    if (head > HEAD_ROOM || (head > 0 && head > length)) return null;
    const base = at * 4;
    let text = base + TEXT_AT;
    const next = (index: number): string | null | undefined => {
      const size = word(index);
      if (size === NULL) return null;
      if (size === UNDEFINED || text + size > base + ROW_BYTES) return undefined;
      text += size;
      return String.fromCharCode(...this.#bytes.subarray(text - size, text));
    };
    const host = next(W.host);
    const method = next(W.method);
    const path = next(W.path);
    if (host === undefined || method === undefined) return null;
    return {
      protocol: 6,
      c0: words[at + W.client]!,
      c1: words[at + W.client + 1]!,
      c2: words[at + W.client + 2]!,
      c3: words[at + W.client + 3]!,
      s0: words[at + W.server]!,
      s1: words[at + W.server + 1]!,
      s2: words[at + W.server + 2]!,
      s3: words[at + W.server + 3]!,
      clientPort: word(W.ports) >>> 16,
      serverPort: word(W.ports) & 0xffff,
      start: word(W.start),
      length,
      head: this.#bytes.slice(base + HEAD_AT, base + HEAD_AT + head),
      clientAck: word(W.clientAck),
      host,
      method,
      path,
      nameHidden: word(W.nameHidden) === 1,
      time: word(W.timeHigh) * HIGH + word(W.timeLow),
    };
  }
}
