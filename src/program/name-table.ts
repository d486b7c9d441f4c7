import type { NameTableData } from "./layout.ts";
import { HASH, LONGEST, type NameHasher, nameHasher } from "./name-hash.ts";
import { EMPTY_LIST } from "./postings.ts";

// What is written down of a pattern is a hash with secret keys (ADR 0032): 64 bits of it, beside where it lies. A bucket is as large as a cache line, so
// that a name costs one wait for memory, however many there are; a name is looked for at levels at which some pattern is.
//
// A bucket, in words: five entries of the two words of a hash and a list, zeros where there is none; then a bit for each entry that belongs here and had
// to go to a bucket behind it.
export const BUCKET = 16;
export const ENTRY_WORDS = 3;
export const ENTRIES = 5;
export const MOVED = BUCKET - 1;

const WORDS = 0x1_0000_0000;

/** Looks names up, one after the other: `lists` holds what the last one found. */
export class NameFinder {
  /** Offsets in the postings: one a label, and that of `*`. */
  readonly lists = new Uint32Array(LONGEST + 2);
  readonly #buckets: Int32Array;
  readonly #count: number;
  readonly #table: NameTableData;
  readonly #hasher: NameHasher = nameHasher();

  constructor(table: NameTableData) {
    this.#table = table;
    this.#buckets = new Int32Array(table.buckets.buffer);
    this.#count = this.#buckets.length / BUCKET;
  }

  /** Writes the lists of all patterns that match a canonical name into `lists` and says how many. */
  find(name: string): number {
    const { lists } = this;
    const { any, levels, keys } = this.#table;
    let count = 0;
    if (any !== EMPTY_LIST) lists[count++] = any;
    if (levels === 0 || name.length > LONGEST) return count;
    const { results } = this.#hasher;
    const end = this.#hasher.hash(name, keys, levels);
    for (let at = 0; at < end; at += HASH.stride) {
      const list = this.#list(results[at + HASH.place]!, results[at + HASH.first]!, results[at + HASH.second]!);
      if (list !== EMPTY_LIST) lists[count++] = list;
    }
    return count;
  }

  #list(place: number, first: number, second: number): number {
    const buckets = this.#buckets;
    let bucket = bucketOf(place, this.#count) * BUCKET;
    for (;;) {
      for (let at = bucket; at < bucket + MOVED; at += ENTRY_WORDS) {
        if (buckets[at] === first && buckets[at + 1] === second) return buckets[at + 2]!;
      }
      if ((buckets[bucket + MOVED]! & movedBit(first)) === 0) return EMPTY_LIST;
      bucket += BUCKET;
      if (bucket === buckets.length) bucket = 0;
    }
  }
}

/** A multiplication where a remainder would divide. */
export function bucketOf(place: number, count: number): number {
  return Math.trunc(((place >>> 0) / WORDS) * count);
}

export function movedBit(first: number): number {
  return 1 << (first & 31);
}
