import type { DomainPattern } from "../net/pattern.ts";
import type { NameTableData } from "./layout.ts";
import type { PostingsBuilder } from "./postings.ts";
import { sharedBytes, sharedWords } from "./words.ts";

// One record a pattern: four bytes `list << 1 | below`, one byte length, the text. `slots` holds record offsets, `tags`
// eight more bits of the hash (0: free), so that a miss seldom leaves the small array. About 13 bytes a name and its text.
const HEAD = 5;
const LONGEST = 253;
/** Lists that one name can find at most: one a label (RFC 1035 §2.3.4: 127), and the one of `*`. */
export const MOST_LISTS = 128;

const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/** Sets are given in order of their ids; the lists are added to `postings`. */
export function buildNameTable(sets: readonly (readonly DomainPattern[])[], postings: PostingsBuilder): NameTableData {
  const drafts = new Drafts(sets.reduce((sum, set) => sum + set.length, 0));
  const any: number[] = [];
  for (const [id, set] of sets.entries()) {
    for (const pattern of set) {
      if (pattern.kind !== "any") drafts.add(pattern.name, pattern.kind === "below", id);
      else if (any.at(-1) !== id) any.push(id);
    }
  }
  return { ...drafts.finish(postings), any: postings.add(any), setCount: sets.length };
}

/** Distinct patterns with their sets, before their number is known. */
class Drafts {
  private readonly names: string[] = [];
  private readonly below: boolean[] = [];
  private readonly firstSet: number[] = [];
  private readonly allSets = new Map<number, number[]>();
  private readonly slots: Uint32Array;
  private bytes = 0;

  constructor(most: number) {
    this.slots = new Uint32Array(most * 2 + 4);
  }

  add(name: string, below: boolean, set: number): void {
    let slot = patternHash(name, below) % this.slots.length;
    for (; this.slots[slot] !== 0; slot = slot + 1 === this.slots.length ? 0 : slot + 1) {
      const draft = this.slots[slot]! - 1;
      if (this.names[draft] === name && this.below[draft] === below) {
        this.join(draft, set);
        return;
      }
    }
    this.slots[slot] = this.names.push(name);
    this.below.push(below);
    this.firstSet.push(set);
    this.bytes += HEAD + name.length;
  }

  finish(postings: PostingsBuilder): Omit<NameTableData, "any" | "setCount"> {
    const slots = sharedWords(Math.ceil(this.names.length * 1.6) + 4);
    const tags = sharedBytes(slots.length);
    const records = sharedBytes(this.bytes);
    let offset = 0;
    for (const [draft, name] of this.names.entries()) {
      const list = postings.add(this.allSets.get(draft) ?? [this.firstSet[draft]!]);
      const hash = patternHash(name, this.below[draft]!);
      let slot = hash % slots.length;
      while (tags[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
      tags[slot] = tagOf(hash);
      slots[slot] = offset;
      offset = writeRecord(records, offset, ((list << 1) | (this.below[draft] ? 1 : 0)) >>> 0, name);
    }
    return { slots, tags, records };
  }

  private join(draft: number, set: number): void {
    const first = this.firstSet[draft]!;
    const sets = this.allSets.get(draft);
    if (sets === undefined) {
      if (first !== set) this.allSets.set(draft, [first, set]);
    } else if (sets.at(-1) !== set) sets.push(set);
  }
}

function writeRecord(records: Uint8Array, offset: number, head: number, name: string): number {
  records[offset] = head;
  records[offset + 1] = head >>> 8;
  records[offset + 2] = head >>> 16;
  records[offset + 3] = head >>> 24;
  records[offset + 4] = name.length;
  for (let i = 0; i < name.length; i++) records[offset + HEAD + i] = name.charCodeAt(i);
  return offset + HEAD + name.length;
}

/**
 * Writes the lists of all patterns that match a canonical name into `lists` and says how many. The text itself is
 * compared, so names made to collide cost probes and match nothing.
 */
export function findNameLists(table: NameTableData, name: string, lists: Uint32Array): number {
  let count = 0;
  if (table.any !== 0) lists[count++] = table.any;
  if (name.length > LONGEST) return count;
  let hash = OFFSET;
  for (let i = name.length - 1; i >= 0; i--) {
    const code = name.charCodeAt(i);
    if (code === 46 && count < MOST_LISTS - 1) {
      const list = findPattern(table, name, i + 1, true, finish(hash, true));
      if (list !== 0) lists[count++] = list;
    }
    hash = Math.imul(hash ^ code, PRIME);
  }
  const list = findPattern(table, name, 0, false, finish(hash, false));
  if (list !== 0) lists[count++] = list;
  return count;
}

function findPattern(table: NameTableData, name: string, start: number, below: boolean, hash: number): number {
  const { slots, tags, records } = table;
  const tag = tagOf(hash);
  let slot = hash % slots.length;
  for (; tags[slot] !== 0; slot = slot + 1 === slots.length ? 0 : slot + 1) {
    if (tags[slot] !== tag) continue;
    const offset = slots[slot]!;
    if (((records[offset]! & 1) === 1) === below && sameText(records, offset + 4, name, start)) {
      return (
        (records[offset]! |
          (records[offset + 1]! << 8) |
          (records[offset + 2]! << 16) |
          (records[offset + 3]! << 24)) >>>
        1
      );
    }
  }
  return 0;
}

/** Whether the length byte and text at `offset` are those of `name` from `start`. */
function sameText(records: Uint8Array, offset: number, name: string, start: number): boolean {
  const length = name.length - start;
  if (records[offset] !== length) return false;
  for (let i = 1; i <= length; i++) if (records[offset + i] !== name.charCodeAt(start + i - 1)) return false;
  return true;
}

/** From the last character to the first, so that one pass over a name has the hash of every suffix. */
function patternHash(name: string, below: boolean): number {
  let hash = OFFSET;
  for (let i = name.length - 1; i >= 0; i--) hash = Math.imul(hash ^ name.charCodeAt(i), PRIME);
  return finish(hash, below);
}

function finish(hash: number, below: boolean): number {
  let mixed = below ? hash ^ 0x9e3779b9 : hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function tagOf(hash: number): number {
  return ((Math.imul(hash, 0x27d4eb2f) >>> 24) % 255) + 1;
}
