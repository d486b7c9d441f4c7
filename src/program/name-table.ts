import type { NameTableData } from "./layout.ts";

// A tree of labels, from the last one to the first, so that names which end alike share their end. One record a node, and the records
// lie in buckets of two cache lines, each in the bucket that its hash names or, where that was full, in one behind it. In a table that is
// larger than the caches a step down the tree so costs one wait for memory, and a name that is there little more in all, for the
// upper part of the tree stays in the caches.
//
// A bucket, in words: a bit for each record that belongs here, chosen by its hash (so that a name that is not there seldom costs more than
// this word), the highest where a record that belongs here or before stands behind it; then records, then zeros.
// A record: `parent << 3 | flags`, parent an offset; `list << 6 | length` (never 0); the label, four bytes a word from its
// end on; the second list of a node that has both. `list` is that of `below` where there is one. About 10 bytes a name and its own labels.
export const BUCKET = 32;
/** Words of a bucket that records may fill, behind the first. */
export const ROOM = BUCKET - 1;
export const GOES_ON = 0x8000_0000;
/** Words of a record before its label. */
export const HEAD = 2;
export const FLAG_BITS = 3;
export const FLAG = { exact: 1, below: 2, children: 4 } as const;
export const LENGTH_BITS = 6;
export const LENGTH = 63;
/** No record's offset. */
export const ROOT = 0x1fff_ffff;
export const ROOT_HASH = 0x811c9dc5;
/** Lists that one name can find at most: one a label (RFC 1035 §2.3.4: 127), and the one of `*`. */
const MOST_LISTS = 128;
const LONGEST = 253;

const DOT = 46;
const NO_ASCII = 0xff;
const WORDS = 0x1_0000_0000;

/** The labels of a name, the last one first: their words, lengths and hashes. Reused from name to name. */
export class Labels {
  readonly words = new Uint32Array(LONGEST + 1);
  /** Where the words of a label begin. */
  readonly rows = new Uint8Array(LONGEST + 1);
  readonly lengths = new Uint8Array(LONGEST + 1);
  /** Of all labels down to this one. */
  readonly hashes = new Uint32Array(LONGEST + 1);
  count = 0;
  /** False: a label that is too long for any name stands before these. */
  whole = true;

  /** At most 253 units. What lies beyond ASCII is like nothing that a table holds. */
  read(name: string): void {
    const { words, rows, lengths } = this;
    let label = 0;
    let hash = ROOT_HASH;
    let length = 0;
    let word = 0;
    let at = 0;
    for (let i = name.length - 1; i >= 0; i--) {
      const unit = name.charCodeAt(i);
      if (unit === DOT) {
        if ((length & 3) !== 0) words[at++] = word;
        hash = mix(hash ^ word, length);
        lengths[label] = length;
        this.hashes[label++] = hash;
        rows[label] = at;
        length = word = 0;
        continue;
      }
      word = (word << 8) | (unit > 0x7f ? NO_ASCII : unit);
      if ((++length & 3) !== 0) continue;
      if (length > LENGTH) {
        this.count = label;
        this.whole = false;
        return;
      }
      words[at++] = word;
      hash = mix(hash, word);
      word = 0;
    }
    words[at] = word;
    lengths[label] = length;
    this.hashes[label++] = mix(hash ^ word, length);
    this.count = label;
    this.whole = true;
  }
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** Looks names up, one after the other: `lists` holds what the last one found. */
export class NameFinder {
  /** Offsets in the postings. */
  readonly lists = new Uint32Array(MOST_LISTS);
  readonly #records: Uint32Array;
  readonly #any: number;
  readonly #labels = new Labels();

  constructor(table: NameTableData) {
    this.#records = table.records;
    this.#any = table.any;
  }

  /**
   * Writes the lists of all patterns that match a canonical name into `lists` and says how many. Walks from the last label to
   * the first and ends where the table knows no name that ends so. The labels themselves are compared, so names made to collide cost
   * probes and match nothing.
   */
  find(name: string): number {
    const { lists } = this;
    const labels = this.#labels;
    const records = this.#records;
    let count = 0;
    if (this.#any !== 0) lists[count++] = this.#any;
    if (name.length > LONGEST) return count;
    labels.read(name);
    const last = labels.whole ? labels.count - 1 : labels.count;
    let node: number = ROOT;
    for (let level = 0; level < labels.count; level++) {
      node = this.#child(node, level);
      if (node === ROOT) return count;
      const flags = records[node]!;
      const list = records[node + 1]! >>> LENGTH_BITS;
      if (level === last) {
        if ((flags & FLAG.exact) !== 0) lists[count++] = (flags & FLAG.below) === 0 ? list : this.#second(node);
        return count;
      }
      if ((flags & FLAG.below) !== 0 && count < MOST_LISTS - 1) lists[count++] = list;
      if ((flags & FLAG.children) === 0) return count;
    }
    return count;
  }

  /** The record of `parent`'s child with this label of the name; ROOT: there is none. */
  #child(parent: number, level: number): number {
    const records = this.#records;
    const { words, rows, lengths, hashes } = this.#labels;
    const length = lengths[level]!;
    const size = (length + 3) >>> 2;
    const row = rows[level]!;
    const buckets = records.length / BUCKET;
    let bucket = bucketOf(hashes[level]!, buckets);
    if ((records[bucket * BUCKET]! & bitOf(hashes[level]!)) === 0) return ROOT;
    for (let left = buckets; left > 0; left--) {
      const first = bucket * BUCKET;
      const end = first + BUCKET;
      let at = first + 1;
      while (at + HEAD < end) {
        const second = records[at + 1]!;
        if (second === 0) break;
        const flags = records[at]!;
        if (flags >>> FLAG_BITS === parent && (second & LENGTH) === length) {
          let same = 0;
          while (same < size && records[at + HEAD + same] === words[row + same]) same++;
          if (same === size) return at;
        }
        at += recordSize(flags, second & LENGTH);
      }
      if ((records[first]! & GOES_ON) === 0) return ROOT;
      bucket = bucket + 1 === buckets ? 0 : bucket + 1;
    }
    return ROOT;
  }

  #second(node: number): number {
    return this.#records[node + HEAD + (((this.#records[node + 1]! & LENGTH) + 3) >>> 2)]!;
  }
}

/** Words of a record. */
export function recordSize(flags: number, length: number): number {
  return HEAD + ((length + 3) >>> 2) + (flags & (flags >>> 1) & 1);
}

/** In the first word of the bucket. The low bits of a hash, for the high ones choose the bucket after a mixing of their own. */
export function bitOf(hash: number): number {
  return 1 << Math.min(hash & 31, 30);
}

/** A multiplication where a remainder would divide. */
export function bucketOf(hash: number, buckets: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return Math.trunc((((mixed ^ (mixed >>> 16)) >>> 0) / WORDS) * buckets);
}
