import type { DomainPattern } from "../net/pattern.ts";
import { bucketOf, Labels, LENGTH, ROOT_HASH } from "./name-table.ts";

/** The nodes with their sets, before their number is known. Node 0 is the root; a parent comes before its children. */
export class NameTree {
  readonly labels: string[] = [""];
  readonly parents: number[] = [0];
  readonly hashes: number[] = [ROOT_HASH];
  /** First set of each list: of node n, `exact` at 2n and `below` at 2n + 1; -1: no such list. */
  readonly #firstSet: number[] = [-1, -1];
  readonly #allSets = new Map<number, number[]>();
  readonly #labels = new Labels();
  #slots = new Uint32Array(64);

  add(pattern: Exclude<DomainPattern, { kind: "any" }>, set: number): void {
    const { name } = pattern;
    const read = this.#labels;
    read.read(name);
    let node = 0;
    for (let level = 0; level < read.count; level++) {
      const label = name.slice(read.start(level), read.end(level));
      if (label.length > LENGTH) throw new RangeError(`\`${name}\` has a label that is longer than ${LENGTH} bytes`);
      node = this.#child(node, label, read.hashes[level]!);
    }
    this.#join(node * 2 + (pattern.kind === "below" ? 1 : 0), set);
  }

  /** Ids in ascending order; null: no pattern ends here. */
  sets(node: number, kind: "exact" | "below"): readonly number[] | null {
    const list = node * 2 + (kind === "below" ? 1 : 0);
    const first = this.#firstSet[list]!;
    return first < 0 ? null : (this.#allSets.get(list) ?? [first]);
  }

  /** The child of a node with this label, made where there is none. */
  #child(parent: number, label: string, hash: number): number {
    if (this.labels.length * 2 > this.#slots.length) this.#grow();
    const slots = this.#slots;
    let slot = bucketOf(hash, slots.length);
    for (; slots[slot] !== 0; slot = slot + 1 === slots.length ? 0 : slot + 1) {
      const node = slots[slot]!;
      if (this.parents[node] === parent && this.labels[node] === label) return node;
    }
    const node = this.labels.push(label) - 1;
    this.parents.push(parent);
    this.hashes.push(hash);
    this.#firstSet.push(-1, -1);
    slots[slot] = node;
    return node;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    for (let node = 1; node < this.labels.length; node++) {
      let slot = bucketOf(this.hashes[node]!, slots.length);
      while (slots[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
      slots[slot] = node;
    }
    this.#slots = slots;
  }

  #join(list: number, set: number): void {
    const first = this.#firstSet[list]!;
    const sets = this.#allSets.get(list);
    if (first < 0) this.#firstSet[list] = set;
    else if (sets !== undefined) {
      if (sets.at(-1) !== set) sets.push(set);
    } else if (first !== set) this.#allSets.set(list, [first, set]);
  }
}
