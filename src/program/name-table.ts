import type { DomainPattern } from "../net/pattern.ts";
import type { NameTableData } from "./layout.ts";
import type { PostingsBuilder } from "./postings.ts";
import { sharedBytes, sharedWords } from "./words.ts";

// A tree of labels, from the last one to the first, so that names which end alike share their end. One record a node: its parent
// (offset of that record, 0: the root; the highest bit: it has children), one byte `length << 2 | below << 1 | exact`, the lists that the node has
// (four bytes each: `below`, then `exact`), the label. `slots` holds record offsets by the hash of parent and label (0: free), and
// above them, in the bits that no offset needs, more of the hash, so that a miss seldom leaves this array. In a table that is larger than the
// caches a look-up costs two reads from memory: a slot, and a record. About 15 bytes a name and its own labels.
const PARENT = 4;
const LIST = 4;
const CHILDREN = 0x8000_0000;
const EXACT = 1;
const BELOW = 2;
const ROOT = 0;
const LONGEST = 253;
/** RFC 1035 §2.3.4. */
const LONGEST_LABEL = 63;
/** Slots a node: fewer cost probes, more cost memory. */
const ROOM = 1.4;
/** Lists that one name can find at most: one a label (RFC 1035 §2.3.4: 127), and the one of `*`. */
export const MOST_LISTS = 128;

const DOT = 46;
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;
const WORDS = 0x1_0000_0000;

/** Sets are given in order of their ids; the lists are added to `postings`. Names are canonical (net/name.ts). */
export function buildNameTable(sets: readonly (readonly DomainPattern[])[], postings: PostingsBuilder): NameTableData {
  const drafts = new Drafts();
  const any: number[] = [];
  for (const [id, set] of sets.entries()) {
    for (const pattern of set) {
      if (pattern.kind !== "any") drafts.add(pattern.name, pattern.kind === "below", id);
      else if (any.at(-1) !== id) any.push(id);
    }
  }
  return { ...drafts.finish(postings), any: postings.add(any), setCount: sets.length };
}

/** The nodes with their sets, before their number is known. Node 0 is the root. */
class Drafts {
  private readonly labels: string[] = [""];
  private readonly parents: number[] = [0];
  /** First set of each list: of node n, `exact` at 2n and `below` at 2n + 1; -1: no such list. */
  private readonly firstSet: number[] = [-1, -1];
  private readonly allSets = new Map<number, number[]>();
  private slots = new Uint32Array(64);

  add(name: string, below: boolean, set: number): void {
    let node = 0;
    for (let end = name.length; end >= 0; ) {
      const dot = end === 0 ? -1 : name.lastIndexOf(".", end - 1);
      node = this.child(node, name.slice(dot + 1, end));
      end = dot;
    }
    this.join(node * 2 + (below ? 1 : 0), set);
  }

  finish(postings: PostingsBuilder): Omit<NameTableData, "any" | "setCount"> {
    const count = this.labels.length;
    const slots = sharedWords(Math.ceil(count * ROOM) + 4);
    const records = sharedBytes(this.bytes());
    if (records.length > CHILDREN) throw new RangeError("the names of all policies take more than 2 GiB");
    const offsets = new Uint32Array(count);
    const hasChildren = new Uint8Array(count);
    for (let node = 1; node < count; node++) hasChildren[this.parents[node]!] = 1;
    // Offset 0 is the root's, so no record begins there.
    let offset = 1;
    for (let node = 1; node < count; node++) {
      const label = this.labels[node]!;
      const parent = offsets[this.parents[node]!]!;
      offsets[node] = offset;
      insert(slots, records, labelHash(parent, label, 0, label.length), offset);
      offset = writeWord(records, offset, (parent | (hasChildren[node] === 1 ? CHILDREN : 0)) >>> 0);
      const [exact, below] = [this.sets(node * 2), this.sets(node * 2 + 1)];
      records[offset++] = (label.length << 2) | (below === null ? 0 : BELOW) | (exact === null ? 0 : EXACT);
      if (below !== null) offset = writeWord(records, offset, postings.add(below));
      if (exact !== null) offset = writeWord(records, offset, postings.add(exact));
      for (let i = 0; i < label.length; i++) records[offset++] = label.charCodeAt(i);
    }
    return { slots, records };
  }

  /** The child of a node with this label, made where there is none. */
  private child(parent: number, label: string): number {
    if (label.length > LONGEST_LABEL) throw new RangeError(`label \`${label}\` is longer than ${LONGEST_LABEL} bytes`);
    if (this.labels.length * 2 > this.slots.length) this.grow();
    let slot = labelHash(parent, label, 0, label.length) % this.slots.length;
    for (; this.slots[slot] !== 0; slot = slot + 1 === this.slots.length ? 0 : slot + 1) {
      const node = this.slots[slot]!;
      if (this.parents[node] === parent && this.labels[node] === label) return node;
    }
    const node = this.labels.push(label) - 1;
    this.parents.push(parent);
    this.firstSet.push(-1, -1);
    this.slots[slot] = node;
    return node;
  }

  private grow(): void {
    const slots = new Uint32Array(this.slots.length * 2);
    for (let node = 1; node < this.labels.length; node++) {
      const label = this.labels[node]!;
      let slot = labelHash(this.parents[node]!, label, 0, label.length) % slots.length;
      while (slots[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
      slots[slot] = node;
    }
    this.slots = slots;
  }

  private join(list: number, set: number): void {
    const first = this.firstSet[list]!;
    const sets = this.allSets.get(list);
    if (first < 0) this.firstSet[list] = set;
    else if (sets !== undefined) {
      if (sets.at(-1) !== set) sets.push(set);
    } else if (first !== set) this.allSets.set(list, [first, set]);
  }

  private sets(list: number): readonly number[] | null {
    const first = this.firstSet[list]!;
    return first < 0 ? null : (this.allSets.get(list) ?? [first]);
  }

  private bytes(): number {
    let bytes = 1;
    for (let node = 1; node < this.labels.length; node++) {
      bytes += PARENT + 1 + this.labels[node]!.length;
      if (this.firstSet[node * 2]! >= 0) bytes += LIST;
      if (this.firstSet[node * 2 + 1]! >= 0) bytes += LIST;
    }
    return bytes;
  }
}

function insert(slots: Uint32Array, records: Uint8Array, hash: number, offset: number): void {
  let slot = slotOf(hash, slots.length);
  while (slots[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
  slots[slot] = (offset | (hash & ~offsetMask(records))) >>> 0;
}

/** The bits of a slot that hold an offset; the others hold those of the hash. */
function offsetMask(records: Uint8Array): number {
  return 0xffffffff >>> Math.clz32(records.length);
}

function writeWord(records: Uint8Array, offset: number, value: number): number {
  records[offset] = value;
  records[offset + 1] = value >>> 8;
  records[offset + 2] = value >>> 16;
  records[offset + 3] = value >>> 24;
  return offset + 4;
}

function readWord(records: Uint8Array, offset: number): number {
  return (
    (records[offset]! | (records[offset + 1]! << 8) | (records[offset + 2]! << 16) | (records[offset + 3]! << 24)) >>> 0
  );
}

/**
 * Writes the lists of all patterns that match a canonical name into `lists` and says how many. Walks from the last label to
 * the first and ends where the table knows no name that ends so. The text itself is compared, so names made to collide cost
 * probes and match nothing.
 */
export function findNameLists(table: NameTableData, name: string, lists: Uint32Array): number {
  let count = 0;
  if (table.any !== 0) lists[count++] = table.any;
  if (name.length > LONGEST) return count;
  const { records } = table;
  let node = ROOT;
  for (let end = name.length; ; ) {
    let start = end;
    while (start > 0 && name.charCodeAt(start - 1) !== DOT) start--;
    node = findChild(table, node, name, start, end);
    if (node === ROOT) return count;
    const flags = records[node + PARENT]!;
    const list = node + PARENT + 1;
    if (start === 0) {
      if ((flags & EXACT) !== 0) lists[count++] = readWord(records, (flags & BELOW) === 0 ? list : list + LIST);
      return count;
    }
    if ((flags & BELOW) !== 0 && count < MOST_LISTS - 1) lists[count++] = readWord(records, list);
    if ((records[node + 3]! & 0x80) === 0) return count;
    end = start - 1;
  }
}

/** The record of `parent`'s child with the label `name[start, end)`; ROOT: there is none. */
function findChild(table: NameTableData, parent: number, name: string, start: number, end: number): number {
  const { slots, records } = table;
  const length = end - start;
  if (length > LONGEST_LABEL) return ROOT;
  const hash = labelHash(parent, name, start, end);
  const mask = offsetMask(records);
  let slot = slotOf(hash, slots.length);
  for (let word = slots[slot]!; word !== 0; word = slots[slot]!) {
    const node = word & mask;
    if (((word ^ hash) & ~mask) === 0 && isChild(records, node, parent, name, start, length)) return node;
    slot = slot + 1 === slots.length ? 0 : slot + 1;
  }
  return ROOT;
}

function isChild(
  records: Uint8Array,
  node: number,
  parent: number,
  name: string,
  start: number,
  length: number,
): boolean {
  const flags = records[node + PARENT]!;
  if (flags >>> 2 !== length || (readWord(records, node) & ~CHILDREN) !== parent) return false;
  const text = node + PARENT + 1 + ((flags & BELOW) === 0 ? 0 : LIST) + ((flags & EXACT) === 0 ? 0 : LIST);
  return sameText(records, text, name, start, length);
}

function sameText(records: Uint8Array, text: number, name: string, start: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (records[text + i] !== name.charCodeAt(start + i)) return false;
  return true;
}

function labelHash(parent: number, name: string, start: number, end: number): number {
  let mixed = Math.imul(OFFSET ^ parent, PRIME);
  for (let i = start; i < end; i++) mixed = Math.imul(mixed ^ name.charCodeAt(i), PRIME);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** A multiplication where a remainder would divide. The bits that stand in the slot are mixed anew, for the highest choose it. */
function slotOf(hash: number, slots: number): number {
  return Math.trunc(((Math.imul(hash, 0x27d4eb2f) >>> 0) / WORDS) * slots);
}
