import type { Address } from "../net/address.ts";
import { sharedWords } from "./words.ts";

/** Key of five words (an address and one more), value of one: open addressing, at most half full. */
const STRIDE = 6;
const EMPTY = 0xffffffff;

export interface WordEntry {
  readonly address: Address;
  /** The fifth word of the key; 0 where an address is the whole key. */
  readonly extra: number;
  /** Less than 2^32 - 1. */
  readonly value: number;
}

/** The fifth word of an endpoint's key. */
export function endpointWord(protocol: number, port: number): number {
  return ((protocol << 16) | port) >>> 0;
}

/** Of two entries with one key the first stays. */
export function buildWordTable(entries: readonly WordEntry[]): Uint32Array {
  let slots = 4;
  while (slots < entries.length * 2) slots *= 2;
  const table = sharedWords(slots * STRIDE);
  for (let i = STRIDE - 1; i < table.length; i += STRIDE) table[i] = EMPTY;
  for (const { address, extra, value } of entries) {
    const at = slotOf(table, address.w0, address.w1, address.w2, address.w3, extra);
    if (table[at + 5] !== EMPTY) continue;
    table.set([address.w0, address.w1, address.w2, address.w3, extra, value], at);
  }
  return table;
}

/** The value under a key, or -1. Words are unsigned. */
export function findWords(table: Uint32Array, w0: number, w1: number, w2: number, w3: number, extra: number): number {
  const value = table[slotOf(table, w0, w1, w2, w3, extra) + 5]!;
  return value === EMPTY ? -1 : value;
}

/** Where a key is, or where it would go. Ends, for a table is never full. */
function slotOf(table: Uint32Array, w0: number, w1: number, w2: number, w3: number, extra: number): number {
  let hash =
    Math.imul(w3 ^ Math.imul(w2, 0x85ebca6b), 0x9e3779b1) ^ Math.imul(w1 ^ Math.imul(w0, 0xc2b2ae35), 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 15) ^ Math.imul(extra, 0x165667b1), 0x85ebca77);
  hash ^= hash >>> 13;
  const slots = table.length / STRIDE;
  let slot = hash & (slots - 1);
  for (;;) {
    const at = slot * STRIDE;
    if (table[at + 5] === EMPTY) return at;
    if (
      table[at + 3] === w3 &&
      table[at + 2] === w2 &&
      table[at + 1] === w1 &&
      table[at] === w0 &&
      table[at + 4] === extra
    ) {
      return at;
    }
    slot = (slot + 1) & (slots - 1);
  }
}
