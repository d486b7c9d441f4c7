import { type Page, pageOf } from "./bytes.ts";

const CHUNK_BYTES = 64 * 1024;
const SMALLEST_BITS = 7;
/** Slots of 128, 256, … 2048 bytes. */
const CLASSES = 5;
const CLASS_BITS = 3;
const CLASS_MASK = 7;

/** Slots of one size. */
class Pool<T> {
  readonly bits: number;
  /** Slots of one chunk, as bits. */
  readonly shift: number;
  pages: Page[] = [];
  lengths: Uint16Array[] = [];
  marks: Uint8Array[] = [];
  /** What belongs to a slot; undefined: it is free. */
  owners: (T | undefined)[] = [];
  free: number[] = [];
  used = 0;

  constructor(bits: number) {
    this.bits = bits;
    this.shift = 16 - bits;
  }

  take(): number {
    const index = this.free.pop() ?? this.owners.length;
    if (index >> this.shift === this.pages.length) {
      this.pages.push(pageOf(new Uint8Array(CHUNK_BYTES)));
      this.lengths.push(new Uint16Array(1 << this.shift));
      this.marks.push(new Uint8Array(1 << this.shift));
    }
    this.used++;
    return index;
  }

  give(index: number): void {
    this.owners[index] = undefined;
    this.free.push(index);
    this.used--;
    if (this.used > 0) return;
    this.pages = [];
    this.lengths = [];
    this.marks = [];
    this.owners = [];
    this.free = [];
  }
}

/** A place in a walk over a RecordStore. */
export interface Cursor {
  pool: number;
  index: number;
}

/**
 * Records of some hundred bytes in flat memory, each with something of type T: a million of them are some hundred arrays for the garbage
 * collector. A record keeps its place until it is freed. Handles are numbers ≥ 0.
 */
export class RecordStore<T> {
  readonly #pools = Array.from({ length: CLASSES }, (_, i) => new Pool<T>(SMALLEST_BITS + i));

  /** Bytes of memory, and how much of it is in use. */
  get size(): { readonly held: number; readonly used: number } {
    let held = 0;
    let used = 0;
    for (const pool of this.#pools) {
      held += pool.pages.length * CHUNK_BYTES;
      used += pool.used << pool.bits;
    }
    return { held, used };
  }

  /** Copies a record of at most 2048 bytes, and gives it a mark of 8 bits. */
  put(page: Page, at: number, length: number, owner: T, mark = 0): number {
    let size = 0;
    while (length > 1 << (SMALLEST_BITS + size)) size++;
    const pool = this.#pools[size]!;
    const index = pool.take();
    pool.owners[index] = owner;
    pool.lengths[index >> pool.shift]![index & ((1 << pool.shift) - 1)] = length;
    const handle = (index << CLASS_BITS) | size;
    this.setMark(handle, mark);
    this.page(handle).bytes.set(page.bytes.subarray(at, at + length), this.at(handle));
    return handle;
  }

  free(handle: number): void {
    this.#pools[handle & CLASS_MASK]!.give(handle >> CLASS_BITS);
  }

  page(handle: number): Page {
    const pool = this.#pools[handle & CLASS_MASK]!;
    return pool.pages[(handle >> CLASS_BITS) >> pool.shift]!;
  }

  at(handle: number): number {
    const pool = this.#pools[handle & CLASS_MASK]!;
    return ((handle >> CLASS_BITS) & ((1 << pool.shift) - 1)) << pool.bits;
  }

  length(handle: number): number {
    const pool = this.#pools[handle & CLASS_MASK]!;
    const index = handle >> CLASS_BITS;
    return pool.lengths[index >> pool.shift]![index & ((1 << pool.shift) - 1)]!;
  }

  owner(handle: number): T {
    return this.#pools[handle & CLASS_MASK]!.owners[handle >> CLASS_BITS]!;
  }

  setOwner(handle: number, owner: T): void {
    this.#pools[handle & CLASS_MASK]!.owners[handle >> CLASS_BITS] = owner;
  }

  mark(handle: number): number {
    const pool = this.#pools[handle & CLASS_MASK]!;
    const index = handle >> CLASS_BITS;
    return pool.marks[index >> pool.shift]![index & ((1 << pool.shift) - 1)]!;
  }

  setMark(handle: number, mark: number): void {
    const pool = this.#pools[handle & CLASS_MASK]!;
    const index = handle >> CLASS_BITS;
    pool.marks[index >> pool.shift]![index & ((1 << pool.shift) - 1)] = mark;
  }

  /** The next record at or behind the cursor, which moves on; -1: there is none. Records may come and go meanwhile. */
  next(cursor: Cursor): number {
    for (; cursor.pool < CLASSES; cursor.pool++, cursor.index = 0) {
      const { owners } = this.#pools[cursor.pool]!;
      while (cursor.index < owners.length) {
        const index = cursor.index++;
        if (owners[index] !== undefined) return (index << CLASS_BITS) | cursor.pool;
      }
    }
    return -1;
  }
}
