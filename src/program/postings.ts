import { WordList } from "./words.ts";

/** The empty list, in every postings array. */
export const EMPTY_LIST = 0;

/** Collects lists of set ids; equal lists are kept once. A list is named by the offset of its count. */
export class PostingsBuilder {
  private readonly words = new WordList();
  private readonly singles = new Map<number, number>();
  private readonly lists = new Map<string, number>();

  constructor() {
    this.words.push(0);
  }

  /** `ids` ascending, without repetition. */
  add(ids: readonly number[]): number {
    if (ids.length === 0) return EMPTY_LIST;
    // a million names of one group share one list: no text key for those
    const known = ids.length === 1 ? this.singles.get(ids[0]!) : this.lists.get(ids.join());
    if (known !== undefined) return known;
    const offset = this.words.length;
    this.words.push(ids.length);
    for (const id of ids) this.words.push(id);
    if (ids.length === 1) this.singles.set(ids[0]!, offset);
    else this.lists.set(ids.join(), offset);
    return offset;
  }

  share(): Uint32Array {
    return this.words.share();
  }
}

/** Whether a list holds an id, by halving. */
export function listHolds(postings: Uint32Array, list: number, id: number): boolean {
  let low = list + 1;
  let high = list + postings[list]!;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = postings[middle]!;
    if (found === id) return true;
    if (found < id) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
