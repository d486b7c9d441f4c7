import type { DomainPattern } from "../net/pattern.ts";
import type { NameTableData } from "./layout.ts";
import { NameEntries } from "./name-entries.ts";
import { drawKeys } from "./name-hash.ts";
import { BUCKET, bucketOf, ENTRIES, ENTRY_WORDS, MOVED, movedBit } from "./name-table.ts";
import type { PostingsBuilder } from "./postings.ts";
import { sharedWords } from "./words.ts";

/** Part of the room for entries that is used: less costs memory, more costs look-ups that go on to the next bucket. */
const FILL = 0.8;

/**
 * Sets are given in order of their ids; the lists are added to `postings`. Names are canonical (net/name.ts). Keys are drawn again should two of the names
 * have the same hash.
 */
export function buildNameTable(
  sets: readonly (readonly DomainPattern[])[],
  postings: PostingsBuilder,
  draw: () => Uint32Array = drawKeys,
): NameTableData {
  const any = sets.flatMap((set, id) => (set.some(({ kind }) => kind === "any") ? [id] : []));
  for (;;) {
    const keys = draw();
    const entries = new NameEntries(keys, sets);
    if (entries.collided) continue;
    const buckets = place(entries, postings);
    return { keys, buckets, levels: entries.levels, any: postings.add(any), setCount: sets.length };
  }
}

/** There is room for more than all, so every search for it ends. */
function place(entries: NameEntries, postings: PostingsBuilder): Uint32Array {
  const count = Math.max(1, Math.ceil(entries.count / (ENTRIES * FILL)));
  const words = sharedWords(count * BUCKET);
  const used = new Uint8Array(count);
  for (let entry = 0; entry < entries.count; entry++) {
    const first = entries.first(entry);
    let bucket = bucketOf(entries.place(entry), count);
    for (; used[bucket] === ENTRIES; bucket = bucket + 1 === count ? 0 : bucket + 1) {
      words[bucket * BUCKET + MOVED]! |= movedBit(first);
    }
    const at = bucket * BUCKET + used[bucket]!++ * ENTRY_WORDS;
    words[at] = first;
    words[at + 1] = entries.second(entry);
    words[at + 2] = postings.add(entries.sets(entry));
  }
  return words;
}
