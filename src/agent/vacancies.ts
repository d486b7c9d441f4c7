import type { Workload } from "../model/workload.ts";
import type { Address } from "../net/address.ts";

/** Addresses that are remembered when their pod has gone; of one that is not any more, flows count from when it was forgotten. */
const MOST = 4_096;

/**
 * Since when addresses are nobody's. What a pod that is gone has left in conntrack, for days maybe, is not of whoever sends with its address
 * now that no workload owns it.
 */
export class Vacancies {
  #workloads: readonly Workload[] | null = null;
  #owned: ReadonlySet<string> = new Set();
  readonly #since = new Map<string, number>();
  /** Of all that are not in there. */
  #floor = 0;

  /** `now` in milliseconds since the epoch. Of what was before the first call nobody knows whose it was. */
  note(workloads: readonly Workload[], now: number): void {
    if (workloads === this.#workloads) return;
    if (this.#workloads === null) this.#floor = now;
    this.#workloads = workloads;
    const owned = new Set(workloads.flatMap(({ addresses }) => addresses.map(keyOf)));
    for (const key of this.#owned) if (!owned.has(key)) this.#since.set(key, now);
    for (const key of owned) this.#since.delete(key);
    this.#owned = owned;
    for (const [key, since] of this.#since) {
      if (this.#since.size <= MOST) break;
      this.#since.delete(key);
      this.#floor = Math.max(this.#floor, since);
    }
  }

  /** Whether an entry of an address that no workload owns began at `start` while none did. 0: nobody knows when, so nobody says so. */
  isOfNobody(address: Address, start: number): boolean {
    return start > (this.#since.get(keyOf(address)) ?? this.#floor);
  }
}

function keyOf({ w0, w1, w2, w3 }: Address): string {
  return `${w0} ${w1} ${w2} ${w3}`;
}
