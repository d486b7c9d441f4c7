import { copyKey, type FlowEntry, type FlowKey, FlowTable } from "./flow-table.ts";
import type { Boundary, RequestBoundaries } from "./request-boundaries.ts";

interface Remembered extends FlowEntry {
  readonly row: number;
  readonly boundary: Boundary;
}

/** What an agent that died left among the request boundaries, until conntrack has told which of those flows are still there. */
export class Recollection {
  readonly #boundaries: RequestBoundaries;
  readonly #table: FlowTable<Remembered>;

  constructor(boundaries: RequestBoundaries, seed: number) {
    this.#boundaries = boundaries;
    this.#table = new FlowTable<Remembered>(seed);
    for (const [row, boundary] of boundaries.begin()) {
      // Two rows of one flow contradict each other: neither is believed.
      const other = this.#table.find(boundary);
      if (other === null) this.#table.add({ ...copyKey(boundary), row, boundary, hash: 0, bucketNext: null });
      else {
        boundaries.release(row, -1);
        boundaries.open(other.row);
      }
    }
  }

  holds(key: FlowKey): boolean {
    return this.#table.find(key) !== null;
  }

  /** Another connection with the same ports begins. */
  forget(key: FlowKey): void {
    const entry = this.#table.find(key);
    if (entry !== null) this.#drop(entry);
  }

  /** The flow whose entry began at `start` (milliseconds); its row is the caller's. Null: nothing that can be believed is known of it. */
  take(key: FlowKey, start: number): { readonly row: number; readonly boundary: Boundary } | null {
    const entry = this.#table.find(key);
    if (entry === null) return null;
    this.#table.remove(entry);
    const { row, boundary } = entry;
    if (this.#boundaries.holds(row) && start > 0 && start <= boundary.time + CLOCK_ERROR_MS) return { row, boundary };
    this.#boundaries.release(row, -1);
    return null;
  }

  /** The rest has ended meanwhile. */
  close(): void {
    for (const entry of this.#table.all()) this.#drop(entry);
  }

  #drop(entry: Remembered): void {
    this.#table.remove(entry);
    this.#boundaries.release(entry.row, -1);
  }
}

/** Between the clock of the kernel, which notes when an entry began, and that of the lane. A later entry is another flow's. */
const CLOCK_ERROR_MS = 1000;
