import type { DomainPattern } from "../net/pattern.ts";
import type { NameTableData } from "./layout.ts";
import {
  BUCKET,
  bitOf,
  bucketOf,
  FLAG,
  FLAG_BITS,
  GOES_ON,
  HEAD,
  LENGTH_BITS,
  ROOM,
  ROOT,
  recordSize,
} from "./name-table.ts";
import { NameTree } from "./name-tree.ts";
import type { PostingsBuilder } from "./postings.ts";
import { sharedWords } from "./words.ts";

/** Part of the buckets' room that records fill: less costs memory, more costs look-ups that go on to the next bucket. */
const FILL = 0.75;
const MOST_POSTINGS = 2 ** (32 - LENGTH_BITS);

/** Sets are given in order of their ids; the lists are added to `postings`. Names are canonical (net/name.ts). */
export function buildNameTable(sets: readonly (readonly DomainPattern[])[], postings: PostingsBuilder): NameTableData {
  const tree = new NameTree();
  const any: number[] = [];
  for (const [id, set] of sets.entries()) {
    for (const pattern of set) {
      if (pattern.kind !== "any") tree.add(pattern, id);
      else if (any.at(-1) !== id) any.push(id);
    }
  }
  return { records: new Records(tree, postings).place(), any: postings.add(any), setCount: sets.length };
}

/** What the records hold, by node of the tree, before their places are known. */
class Records {
  readonly #tree: NameTree;
  readonly #count: number;
  readonly #flags: Uint8Array;
  readonly #sizes: Uint8Array;
  /** Of node n, the list in its head at 2n and the one behind its label at 2n + 1. */
  readonly #lists: Uint32Array;

  constructor(tree: NameTree, postings: PostingsBuilder) {
    this.#tree = tree;
    this.#count = tree.labels.length;
    this.#flags = new Uint8Array(this.#count);
    this.#sizes = new Uint8Array(this.#count);
    this.#lists = new Uint32Array(this.#count * 2);
    for (let node = 1; node < this.#count; node++) {
      const lists: number[] = [];
      for (const kind of ["below", "exact"] as const) {
        const sets = tree.sets(node, kind);
        if (sets === null) continue;
        this.#flags[node]! |= FLAG[kind];
        const list = postings.add(sets);
        if (list >= MOST_POSTINGS) throw new RangeError("the names of all policies are in too many sets");
        lists.push(list);
      }
      this.#lists.set(lists, node * 2);
      this.#flags[tree.parents[node]!]! |= FLAG.children;
      this.#sizes[node] = recordSize(this.#flags[node]!, tree.labels[node]!.length);
    }
  }

  place(): Uint32Array {
    for (let buckets = this.#bucketsWanted(); ; buckets = Math.ceil(buckets * 1.25)) {
      if (buckets * BUCKET >= ROOT) throw new RangeError("the names of all policies take more than 2 GiB");
      const places = this.#places(buckets);
      if (places !== null) return this.#write(places, buckets);
    }
  }

  /** Long records leave more of a bucket empty behind the last that fits. */
  #bucketsWanted(): number {
    let words = 0;
    for (let node = 1; node < this.#count; node++) words += this.#sizes[node]!;
    if (words === 0) return 1;
    const mean = words / (this.#count - 1);
    return Math.ceil(words / (Math.floor(ROOM / mean) * mean * FILL));
  }

  /** Offset by node, and the first words of the buckets; null: not all fit. */
  #places(buckets: number): { offsets: Uint32Array; firsts: Uint32Array } | null {
    const offsets = new Uint32Array(this.#count);
    const firsts = new Uint32Array(buckets);
    const used = new Uint8Array(buckets);
    offsets[0] = ROOT;
    for (let node = 1; node < this.#count; node++) {
      const size = this.#sizes[node]!;
      let bucket = bucketOf(this.#tree.hashes[node]!, buckets);
      firsts[bucket]! |= bitOf(this.#tree.hashes[node]!);
      for (let tried = 0; used[bucket]! + size > ROOM; tried++) {
        if (tried === buckets) return null;
        firsts[bucket]! |= GOES_ON;
        bucket = bucket + 1 === buckets ? 0 : bucket + 1;
      }
      offsets[node] = bucket * BUCKET + 1 + used[bucket]!;
      used[bucket]! += size;
    }
    return { offsets, firsts };
  }

  #write({ offsets, firsts }: { offsets: Uint32Array; firsts: Uint32Array }, buckets: number): Uint32Array {
    const records = sharedWords(buckets * BUCKET);
    for (let bucket = 0; bucket < buckets; bucket++) records[bucket * BUCKET] = firsts[bucket]!;
    for (let node = 1; node < this.#count; node++) {
      const at = offsets[node]!;
      const label = this.#tree.labels[node]!;
      const parent = offsets[this.#tree.parents[node]!]!;
      records[at] = (parent << FLAG_BITS) | this.#flags[node]!;
      records[at + 1] = (this.#lists[node * 2]! << LENGTH_BITS) | label.length;
      writeLabel(records, at + HEAD, label);
      const second = this.#lists[node * 2 + 1]!;
      if (second !== 0) records[at + this.#sizes[node]! - 1] = second;
    }
    return records;
  }
}

/** Four bytes a word, from the end on, as `Labels` reads them. */
function writeLabel(records: Uint32Array, at: number, label: string): void {
  for (let end = label.length, word = at; end > 0; end -= 4, word++) {
    for (let i = end - 1; i >= Math.max(0, end - 4); i--) records[word] = (records[word]! << 8) | label.charCodeAt(i);
  }
}
