import { seqDiff } from "../packet/tcp.ts";
import { type BufferPool, POOLED } from "./buffer-pool.ts";

/**
 * What `offer` made of a segment: `new` brought the next bytes; `old` only repeats inspected ones; `future` waits for
 * earlier bytes; `differs` repeats inspected bytes with other content; `forgotten` repeats bytes of which no copy is
 * kept any more, or comes before the first byte; `full` exceeds the bound.
 */
export type Offered = "new" | "old" | "future" | "differs" | "forgotten" | "full";

interface Range {
  start: number;
  end: number;
  /** Null: opaque, its content moves no boundary and need not be the same twice. Else with room for more behind `end`. */
  readonly bytes: Uint8Array | null;
}

const NOTHING = new Uint8Array(0);
/** A second range and those after it are put together in pieces of this size: a kept connection has one a request. */
const PIECE = 4096;
const MOST_FUTURE = 64;
const MOST_RANGES = 2048;

/**
 * One direction of a TCP connection, put in order, with a copy of everything that was inspected (DESIGN §4.4). Every
 * copy of an inspected byte must be identical: whichever copy the receiver keeps, it reads what was inspected, so
 * decoys with a low TTL, a stale timestamp or a lost checksum gain nothing (EVASION 4, 6-10).
 *
 * Offsets are plain numbers counted from the first byte after the SYN; they do not wrap (EVASION 19). Bytes from
 * `bufferStart` to `next` wait for the reader; `settle` moves those it has read into the kept ranges, of which the last
 * `keep` bytes stay. Below `floor` nothing is known.
 */
export class Stream {
  #buffer: Uint8Array = NOTHING;
  readonly #firstSeq: number;
  readonly #limit: number;
  readonly #pool: BufferPool;
  #ranges: Range[] = [];
  #kept = 0;
  #future: { start: number; bytes: Uint8Array }[] = [];
  #futureBytes = 0;
  /** How many bytes that were read stay, to be compared with copies. */
  keep: number;
  bufferStart = 0;
  next = 0;
  floor = 0;

  constructor(firstSeq: number, limit: number, keep: number, pool: BufferPool) {
    this.#pool = pool;
    this.#firstSeq = firstSeq >>> 0;
    this.#limit = limit;
    this.keep = keep;
  }

  /** Bytes of memory that count against the workload's bound. */
  get memory(): number {
    return this.#buffer.length + this.#kept + this.#futureBytes;
  }

  get waiting(): number {
    return this.#future.length;
  }

  /** The unread bytes: `buffer[0, unread)` begin at offset `bufferStart`. Valid until the next `offer` or `settle`. */
  get buffer(): Uint8Array {
    return this.#buffer;
  }

  get unread(): number {
    return this.next - this.bufferStart;
  }

  /** Offset of a sequence number, the nearest one to what is expected next. */
  offsetOf(seq: number): number {
    return this.next + seqDiff(seq, this.seqOf(this.next));
  }

  seqOf(offset: number): number {
    return (this.#firstSeq + (offset % 0x1_0000_0000)) >>> 0;
  }

  /** Takes `bytes[from, to)` as the bytes at `start`. Copies what it keeps. */
  offer(start: number, bytes: Uint8Array, from: number, to: number): Offered {
    const end = start + to - from;
    if (start < this.floor) return "forgotten";
    if (!this.#identical(start, bytes, from, to)) return "differs";
    if (start > this.next) return this.#postpone(start, bytes, from, to);
    if (end <= this.next) return "old";
    if (end - this.bufferStart > this.#limit) return "full";
    this.#append(bytes, from + (this.next - start), to);
    return this.#absorb() ? "new" : "differs";
  }

  /** The reader has read up to `end`; `opaque` bytes need no copy. */
  settle(end: number, opaque: boolean): void {
    const start = this.bufferStart;
    if (end <= start) return;
    const count = end - start;
    const unread = this.unread;
    const last = this.#ranges[this.#ranges.length - 1];
    if (opaque && last !== undefined && last.bytes === null) last.end = end;
    else if (opaque) this.#ranges.push({ start, end, bytes: null });
    else this.#keepRead(last, start, end);
    if (unread > count) this.#buffer.copyWithin(0, count, unread);
    this.bufferStart = end;
    // An idle connection must not hold the memory of its largest head.
    if (this.unread === 0 && (this.#buffer.length > POOLED || this.keep < POOLED * 4)) this.#giveBack();
    while (this.#ranges.length > 0 && (this.#kept > this.keep || this.#ranges.length > MOST_RANGES)) {
      const oldest = this.#ranges.shift()!;
      this.#kept -= oldest.bytes === null ? 0 : oldest.bytes.length;
      this.floor = oldest.end;
    }
  }

  /** Copies what is kept of `count` bytes from offset `start`. False: they are not all kept in one piece. */
  copyKept(start: number, count: number, into: Uint8Array, at: number): boolean {
    for (let i = this.#ranges.length - 1; i >= 0; i--) {
      const range = this.#ranges[i]!;
      if (range.start > start) continue;
      if (range.bytes === null || range.end < start + count) return false;
      into.set(range.bytes.subarray(start - range.start, start - range.start + count), at);
      return true;
    }
    return false;
  }

  /** Of a stream that nothing was offered to: the first bytes were inspected before, `bytes` and, up to `end`, opaque ones. */
  restore(bytes: Uint8Array, end: number): void {
    if (bytes.length > 0) this.#ranges.push({ start: 0, end: bytes.length, bytes });
    if (bytes.length > 0 && end > bytes.length) this.#ranges.push({ start: bytes.length, end, bytes: null });
    this.#kept = bytes.length;
    this.floor = bytes.length > 0 ? 0 : end;
    this.bufferStart = this.next = end;
  }

  /** The flow is over: what was kept is forgotten, and nothing can be offered any more. */
  release(): void {
    this.#giveBack();
    this.#ranges.length = this.#future.length = 0;
    this.#kept = this.#futureBytes = 0;
    this.floor = this.bufferStart = this.next;
  }

  #giveBack(): void {
    this.#pool.give(this.#buffer);
    this.#buffer = NOTHING;
  }

  /** Copies the first bytes of the buffer, up to `end`, to where copies are compared with them. */
  #keepRead(last: Range | undefined, start: number, end: number): void {
    const count = end - start;
    if (last === undefined) {
      this.#kept += count;
      this.#ranges.push({ start, end, bytes: this.#buffer.slice(0, count) });
      return;
    }
    let piece = last;
    if (piece.bytes === null || piece.end !== start || end - piece.start > piece.bytes.length) {
      piece = { start, end, bytes: new Uint8Array(Math.max(count, Math.min(PIECE, this.keep >>> 3))) };
      this.#kept += piece.bytes!.length;
      this.#ranges.push(piece);
    }
    piece.bytes!.set(this.#buffer.subarray(0, count), start - piece.start);
    piece.end = end;
  }

  #postpone(start: number, bytes: Uint8Array, from: number, to: number): Offered {
    if (this.#future.length >= MOST_FUTURE || to - from + this.#futureBytes > this.#limit) return "full";
    // Two postponed copies of the same bytes are compared when the gap closes: the first fills it, the second is held against it.
    this.#future.push({ start, bytes: bytes.slice(from, to) });
    this.#futureBytes += to - from;
    return "future";
  }

  /** Joins postponed segments that are now in order. False: one of them contradicts what is kept. */
  #absorb(): boolean {
    for (let i = 0; i < this.#future.length; ) {
      const { start, bytes } = this.#future[i]!;
      if (start > this.next) {
        i++;
        continue;
      }
      this.#future.splice(i, 1);
      this.#futureBytes -= bytes.length;
      if (!this.#identical(start, bytes, 0, bytes.length)) return false;
      const known = this.next - start;
      if (known < bytes.length) this.#append(bytes, known, bytes.length);
      i = 0;
    }
    return true;
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    const needed = this.unread + to - from;
    if (needed > this.#buffer.length) {
      const larger = needed <= POOLED ? this.#pool.take() : new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      larger.set(this.#buffer.subarray(0, this.unread));
      this.#pool.give(this.#buffer);
      this.#buffer = larger;
    }
    this.#buffer.set(bytes.subarray(from, to), this.unread);
    this.next += to - from;
  }

  #identical(start: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (start >= this.next) return true;
    for (let i = this.#ranges.length - 1; i >= 0; i--) {
      const range = this.#ranges[i]!;
      if (range.end <= start) break;
      if (
        range.bytes !== null &&
        !sameBytes(start, bytes, from, to, range.start, range.bytes, range.end - range.start)
      ) {
        return false;
      }
    }
    return sameBytes(start, bytes, from, to, this.bufferStart, this.#buffer, this.unread);
  }
}

/** Compares where `bytes[from, to)` at offset `start` and `kept[0, count)` at offset `keptStart` overlap. */
function sameBytes(
  start: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  keptStart: number,
  kept: Uint8Array,
  count: number,
): boolean {
  const low = Math.max(start, keptStart);
  const high = Math.min(start + to - from, keptStart + count);
  for (let at = low; at < high; at++) {
    if (bytes[from + at - start] !== kept[at - keptStart]) return false;
  }
  return true;
}
