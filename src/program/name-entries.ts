import type { DomainPattern } from "../net/pattern.ts";
import { EVERY_LEVEL, HASH, LONGEST, levelBit, nameHasher } from "./name-hash.ts";
import { BELOW } from "./name-hash-code.ts";

type NamePattern = Exclude<DomainPattern, { kind: "any" }>;

/** All different patterns with a name, with their hashes and the sets that hold them. */
export class NameEntries {
  count = 0;
  /** At which there are patterns, a bit each. */
  levels = 0;
  /** Two of them have the same hash: with these keys the others mean nothing. */
  readonly collided: boolean;
  readonly #keys: Uint32Array;
  readonly #patterns: NamePattern[] = [];
  readonly #hashes: Int32Array;
  readonly #firstSet: Int32Array;
  readonly #allSets = new Map<number, number[]>();
  /** Numbers of entries + 1, by their hashes; 0: none. */
  readonly #slots: Int32Array;

  constructor(keys: Uint32Array, sets: readonly (readonly DomainPattern[])[]) {
    this.#keys = keys;
    const most = sets.reduce((sum, set) => sum + set.length, 0);
    this.#hashes = new Int32Array(most * HASH.stride);
    this.#firstSet = new Int32Array(most);
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(most * 2 + 1)));
    this.collided = !sets.every((set, id) => set.every((pattern) => pattern.kind === "any" || this.#add(pattern, id)));
  }

  place(entry: number): number {
    return this.#hashes[entry * HASH.stride + HASH.place]!;
  }

  first(entry: number): number {
    return this.#hashes[entry * HASH.stride + HASH.first]!;
  }

  second(entry: number): number {
    return this.#hashes[entry * HASH.stride + HASH.second]!;
  }

  /** Ids in ascending order. */
  sets(entry: number): readonly number[] {
    return this.#allSets.get(entry) ?? [this.#firstSet[entry]!];
  }

  /** False: it has the hash of another one. */
  #add(pattern: NamePattern, set: number): boolean {
    if (pattern.name.length > LONGEST) throw new RangeError(`\`${pattern.name}\` is longer than ${LONGEST} characters`);
    const hasher = nameHasher();
    const words = hasher.hash(pattern.name, this.#keys, EVERY_LEVEL);
    const at = words - HASH.stride;
    const first = hasher.results[at + HASH.first]!;
    const second = hasher.results[at + HASH.second]! ^ (pattern.kind === "below" ? BELOW : 0);
    const slots = this.#slots;
    let slot = first & (slots.length - 1);
    for (; slots[slot] !== 0; slot = (slot + 1) & (slots.length - 1)) {
      const entry = slots[slot]! - 1;
      if (this.first(entry) !== first || this.second(entry) !== second) continue;
      const other = this.#patterns[entry]!;
      if (other.name !== pattern.name || other.kind !== pattern.kind) return false;
      this.#join(entry, set);
      return true;
    }
    const entry = this.count++;
    slots[slot] = this.count;
    this.#patterns.push(pattern);
    this.#hashes.set([hasher.results[at + HASH.place]!, first, second], entry * HASH.stride);
    this.#firstSet[entry] = set;
    this.levels |= levelBit(words);
    return true;
  }

  #join(entry: number, set: number): void {
    const first = this.#firstSet[entry]!;
    const sets = this.#allSets.get(entry);
    if (sets === undefined) {
      if (first !== set) this.#allSets.set(entry, [first, set]);
    } else if (sets.at(-1) !== set) sets.push(set);
  }
}
