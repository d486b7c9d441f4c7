import { copyKey, type FlowEntry, type FlowKey, FlowTable } from "./flow-table.ts";

interface Entry extends FlowEntry {
  readonly workloadId: number;
}

const LIFE_MS = 1000;
const MOST = 65_536;

/**
 * Flows that were given to the kernel a moment ago. Between the packet that carried the answer and the kernel's taking
 * note of it, more packets of the flow have been queued (a server's flight is many segments); they come as
 * packets of a flow that is being looked at, and nobody looks any more. Reset for that, honest connections would die at random.
 * They pass, and nothing is remembered by it: what has been rejected since stays so.
 *
 * Two generations, so that nothing has to be timed: an entry lives one to two seconds. A SYN ends it at once, for
 * an old decision must not serve a new flow (EVASION 14).
 */
export class LatelyAllowed {
  readonly #table: FlowTable<Entry>;
  #young: Entry[] = [];
  #old: Entry[] = [];
  #turnAt = 0;

  constructor(seed: number) {
    this.#table = new FlowTable<Entry>(seed);
  }

  add(flow: FlowKey & { readonly workloadId: number }): void {
    const known = this.#table.find(flow);
    if (known !== null) this.#table.remove(known);
    else if (this.#table.size >= MOST) return;
    const entry = { ...copyKey(flow), workloadId: flow.workloadId, hash: 0, bucketNext: null };
    this.#table.add(entry);
    this.#young.push(entry);
  }

  has(key: FlowKey, workloadId: number): boolean {
    return this.#table.size > 0 && this.#table.find(key)?.workloadId === workloadId;
  }

  forget(key: FlowKey): void {
    if (this.#table.size === 0) return;
    const entry = this.#table.find(key);
    if (entry !== null) this.#table.remove(entry);
  }

  /** Time has passed. */
  tick(now: number): void {
    if (now < this.#turnAt) return;
    this.#turnAt = now + LIFE_MS;
    for (const entry of this.#old) if (this.#table.find(entry) === entry) this.#table.remove(entry);
    this.#old = this.#young;
    this.#young = [];
  }
}
