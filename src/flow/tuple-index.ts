import type { Page } from "./bytes.ts";

/** client, server, ports: as an event holds them, one behind the other. */
export const TUPLE_BYTES = 36;
const SMALLEST = 1024;
const MIX = 0x9e3779b1;

/** Where a tuple lies. */
export interface TupleAt {
  readonly page: Page;
  readonly at: number;
  readonly protocol: number;
}

/**
 * Finds numbers (handles, ≥ 0) by the tuple of their flow: open addressing over flat arrays. `tupleAt` says where the tuple of a handle
 * lies. Pods choose ports and destinations, so the hash has a secret seed.
 */
export class TupleIndex {
  readonly #tupleAt: (handle: number) => TupleAt;
  readonly #seed: number;
  /** Handle + 1; 0: empty. */
  #slots = new Int32Array(SMALLEST);
  #hashes = new Int32Array(SMALLEST);
  #size = 0;

  constructor(tupleAt: (handle: number) => TupleAt, seed: number) {
    this.#tupleAt = tupleAt;
    this.#seed = seed | 0;
  }

  get size(): number {
    return this.#size;
  }

  /** -1: none. */
  find(page: Page, at: number, protocol: number): number {
    const slot = this.#slotOf(page, at, protocol);
    return slot < 0 ? -1 : this.#slots[slot]! - 1;
  }

  /** The tuple of this handle is not in the index yet. */
  add(handle: number): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#resize(this.#slots.length * 2);
    const { page, at, protocol } = this.#tupleAt(handle);
    this.#insert(handle + 1, this.#hash(page, at, protocol));
    this.#size++;
  }

  /** While what `handle` stands for is still there. */
  remove(handle: number): void {
    const { page, at, protocol } = this.#tupleAt(handle);
    const slot = this.#slotOf(page, at, protocol);
    if (slot < 0) return;
    this.#close(slot);
    this.#size--;
    if (this.#slots.length > SMALLEST && this.#size * 16 < this.#slots.length) this.#resize(this.#slots.length / 4);
  }

  #slotOf(page: Page, at: number, protocol: number): number {
    const hash = this.#hash(page, at, protocol);
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#hashes[slot] === hash && this.#isSame(this.#slots[slot]! - 1, page, at, protocol)) return slot;
    }
    return -1;
  }

  #isSame(handle: number, page: Page, at: number, protocol: number): boolean {
    const of = this.#tupleAt(handle);
    if (of.protocol !== protocol) return false;
    for (let i = 0; i < TUPLE_BYTES; i += 4) {
      if (of.page.view.getUint32(of.at + i) !== page.view.getUint32(at + i)) return false;
    }
    return true;
  }

  #hash(page: Page, at: number, protocol: number): number {
    let hash = this.#seed ^ protocol;
    for (let i = 0; i < TUPLE_BYTES; i += 4) {
      hash = Math.imul(hash ^ page.view.getInt32(at + i), MIX);
      hash ^= hash >>> 15;
    }
    hash = Math.imul(hash, MIX);
    return hash ^ (hash >>> 13);
  }

  #insert(value: number, hash: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = value;
    this.#hashes[slot] = hash;
  }

  /** Empties a slot and moves up those behind it that could not have their own place. */
  #close(empty: number): void {
    const mask = this.#slots.length - 1;
    let gap = empty;
    for (let slot = (gap + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hashes[slot]! & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      this.#slots[gap] = this.#slots[slot]!;
      this.#hashes[gap] = this.#hashes[slot]!;
      gap = slot;
    }
    this.#slots[gap] = 0;
  }

  #resize(length: number): void {
    const slots = this.#slots;
    const hashes = this.#hashes;
    this.#slots = new Int32Array(length);
    this.#hashes = new Int32Array(length);
    for (let slot = 0; slot < slots.length; slot++) if (slots[slot] !== 0) this.#insert(slots[slot]!, hashes[slot]!);
  }
}
