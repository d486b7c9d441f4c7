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
/** Of names in their buffer, so that a word can be read that begins before a label or ends behind it. */
const PAD = 4;
/** Of a word that holds so many bytes of a label. */
const PART = [0, 0xff, 0xffff, 0xff_ffff] as const;
/** The labels down to this level are few, and in the caches; what is below is read from memory, and asked for at once. */
const UPPER = 1;

/** The labels of a name, the last one first: where they are, and their hashes. Reused from name to name. */
export class Labels {
  readonly #bytes = new Uint8Array(LONGEST + 2 * PAD);
  readonly #view = new DataView(this.#bytes.buffer);
  /** Of each label and of the dot before it. */
  readonly #starts = new Int16Array(LONGEST + 1);
  #length = 0;
  /** Of all labels down to this one. */
  readonly hashes = new Uint32Array(LONGEST + 1);
  count = 0;

  /**
   * At most 253 units. What lies beyond ASCII is like nothing that a table holds. Without branches on what the units are, for a processor
   * cannot foresee where labels end.
   */
  read(name: string): void {
    const bytes = this.#bytes;
    const starts = this.#starts;
    const { hashes } = this;
    let label = 0;
    let hash = ROOT_HASH;
    let all = 0;
    for (let i = name.length - 1; i >= 0; i--) {
      const unit = name.charCodeAt(i);
      bytes[i + PAD] = unit;
      hashes[label] = hash;
      starts[label] = i + 1;
      hash = Math.imul(hash ^ unit, 0x9e3779b1);
      all |= unit;
      label += ((unit ^ DOT) - 1) >>> 31;
    }
    hashes[label] = hash;
    starts[label] = 0;
    this.#length = name.length;
    this.count = label + 1;
    if (all > 0x7f) this.#blur(name);
  }

  start(level: number): number {
    return this.#starts[level]!;
  }

  end(level: number): number {
    return level === 0 ? this.#length : this.#starts[level - 1]! - 1;
  }

  /** Whether these words are the label from `start` to `end`, four bytes a word from its end on. */
  isAt(words: Uint32Array, at: number, start: number, end: number): boolean {
    const view = this.#view;
    const first = start + PAD;
    let from = end;
    let word = at;
    for (; from >= first; from -= 4) if (words[word++] !== view.getUint32(from, true)) return false;
    const part = PART[(end - start) & 3]!;
    return part === 0 || words[word] === (view.getUint32(first, true) & part);
  }

  #blur(name: string): void {
    for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0x7f) this.#bytes[i + PAD] = NO_ASCII;
  }
}

/** Looks names up, one after the other: `lists` holds what the last one found. */
export class NameFinder {
  /** Offsets in the postings. */
  readonly lists = new Uint32Array(MOST_LISTS);
  readonly #records: Uint32Array;
  readonly #buckets: number;
  readonly #any: number;
  readonly #labels = new Labels();
  /** Of what was read ahead: kept, lest the compiler find that nobody wants it. */
  ahead = 0;

  constructor(table: NameTableData) {
    this.#records = table.records;
    this.#buckets = table.records.length / BUCKET;
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
    const last = labels.count - 1;
    let node: number = ROOT;
    for (let level = 0; level <= last; level++) {
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
      if (level !== UPPER) continue;
      // Both cache lines of every bucket that may come next: memory answers them together, where the walk waits for one after the other. Not
      // before it is known that the table has names that end so, for most others need none of them.
      let ahead = 0;
      for (let lower = UPPER + 1; lower <= last; lower++) {
        const first = bucketOf(labels.hashes[lower]!, this.#buckets) * BUCKET;
        ahead ^= records[first]! ^ records[first + BUCKET / 2]!;
      }
      this.ahead = ahead;
    }
    return count;
  }

  /** The record of `parent`'s child with this label of the name; ROOT: there is none. */
  #child(parent: number, level: number): number {
    const records = this.#records;
    const buckets = this.#buckets;
    const labels = this.#labels;
    const start = labels.start(level);
    const end = labels.end(level);
    const hash = labels.hashes[level]!;
    let bucket = bucketOf(hash, buckets);
    if ((records[bucket * BUCKET]! & bitOf(hash)) === 0) return ROOT;
    for (let left = buckets; left > 0; left--) {
      const first = bucket * BUCKET;
      let at = first + 1;
      while (at + HEAD < first + BUCKET) {
        const second = records[at + 1]!;
        if (second === 0) break;
        const flags = records[at]!;
        const length = second & LENGTH;
        if (flags >>> FLAG_BITS === parent && length === end - start && labels.isAt(records, at + HEAD, start, end)) {
          return at;
        }
        at += recordSize(flags, length);
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

/** In the first word of the bucket. All bytes of a name reach the high bits of its hash; the bucket is chosen after a mixing of its own. */
export function bitOf(hash: number): number {
  return 1 << Math.min(hash >>> 27, 30);
}

/** A multiplication where a remainder would divide. */
export function bucketOf(hash: number, buckets: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return Math.trunc((((mixed ^ (mixed >>> 16)) >>> 0) / WORDS) * buckets);
}
