import { hashModule, KEYS, LANES, NAME, RESULTS, WORD_BYTES } from "./name-hash-code.ts";
import { sharedWords } from "./words.ts";

/** Characters of the longest name (RFC 1035 §2.3.4), without the dot behind it. */
export const LONGEST = 253;
/** UTF-8 takes up to three bytes for a unit of a string. */
const MOST_BYTES = LONGEST * 3;
/** Keys of 64 bits: one a lane to begin with, and one a lane for every four bytes. */
const KEY_COUNT = LANES * (1 + Math.ceil(MOST_BYTES / WORD_BYTES));
/** Words of the hash of one name: where it lies, and two to know it by. */
export const HASH = { place: 0, first: 1, second: 2, stride: LANES } as const;
/** Levels, a bit each: the last label is of level 0. All from 31 on share a bit. */
export const EVERY_LEVEL = -1;
const LAST_LEVEL = 31;

/** What TypeScript's own library does not tell without that of a browser. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly run: (end: number, levels: number) => number;
}

/** The level of a name, when its hashes of every level took so many words. */
export function levelBit(words: number): number {
  return 1 << Math.min(words / HASH.stride - 1, LAST_LEVEL);
}

/** Nobody outside can know them, so nobody can look for names that collide: ADR 0032. */
export function drawKeys(): Uint32Array {
  const keys = sharedWords(KEY_COUNT * 2);
  keys.set(crypto.getRandomValues(new Uint32Array(keys.length)));
  return keys;
}

/** Hashes names and their suffixes with the keys of whoever asks (name-hash-code.ts). */
export class NameHasher {
  /** What `hash` found, HASH.stride words a suffix; until it is called again. */
  readonly results: Int32Array;
  readonly #run: Exports["run"];
  readonly #name: Uint8Array;
  readonly #keys: Uint32Array;
  readonly #encoder = new TextEncoder();
  #loaded: Uint32Array | null = null;

  constructor() {
    const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(hashModule())).exports as Exports;
    const { buffer } = memory;
    this.#run = run;
    // what lies before the name counts as nothing
    new Uint8Array(buffer, NAME - WORD_BYTES, WORD_BYTES).fill(0xff);
    this.#name = new Uint8Array(buffer, NAME, MOST_BYTES);
    this.#keys = new Uint32Array(buffer, KEYS, KEY_COUNT * 2);
    this.results = new Int32Array(buffer, RESULTS);
  }

  /**
   * Hashes a name (of at most LONGEST units) and its suffixes that begin at a label, the shortest first and the name last, each if its level is
   * in `levels`. Says how many words of `results` that took. A suffix has another hash than the name that is spelled like it (BELOW).
   */
  hash(name: string, keys: Uint32Array, levels: number): number {
    if (keys !== this.#loaded) this.#load(keys);
    const { written } = this.#encoder.encodeInto(name, this.#name);
    const run = this.#run;
    return run(NAME + written, levels) >>> 2;
  }

  #load(keys: Uint32Array): void {
    this.#keys.set(keys);
    this.#loaded = keys;
  }
}

let shared: NameHasher | null = null;

/** One a thread: programs come and go, and the memory of each instance takes 8 GiB of address space. It remembers nothing but the keys it loaded. */
export function nameHasher(): NameHasher {
  shared ??= new NameHasher();
  return shared;
}
