/** Upper bounds of the buckets in milliseconds, three a decade: from below a quick verdict to one that a client notices. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000,
];

/** A slot for each bound, one for what is beyond the last, one for the sum in milliseconds. */
export const LATENCY_SLOTS = LATENCY_BOUNDS_MS.length + 2;
const SUM = LATENCY_BOUNDS_MS.length + 1;

/** Counts times in fixed buckets, in memory that another thread may read: adding allocates nothing. */
export class LatencyHistogram {
  readonly slots: Float64Array;

  /** `slots`: LATENCY_SLOTS numbers. */
  constructor(slots: Float64Array = new Float64Array(LATENCY_SLOTS)) {
    this.slots = slots;
  }

  /** `weight` things took `milliseconds` each. */
  add(milliseconds: number, weight = 1): void {
    if (weight === 0) return;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && milliseconds > LATENCY_BOUNDS_MS[bucket]!) bucket++;
    this.slots[bucket]! += weight;
    this.slots[SUM]! += milliseconds * weight;
  }
}

export function latencyCount(slots: Float64Array): number {
  let count = 0;
  for (let bucket = 0; bucket < SUM; bucket++) count += slots[bucket]!;
  return count;
}

export function latencySumMs(slots: Float64Array): number {
  return slots[SUM]!;
}

/**
 * The time that `part` (0..1) of what was counted did not exceed, in milliseconds, spread evenly within its bucket; the
 * last bound for what lies beyond it. Null where nothing was counted.
 */
export function latencyQuantile(slots: Float64Array, part: number): number | null {
  const wanted = latencyCount(slots) * part;
  if (wanted === 0) return null;
  let before = 0;
  for (const [bucket, bound] of LATENCY_BOUNDS_MS.entries()) {
    const here = slots[bucket]!;
    if (before + here >= wanted) {
      const lower = bucket === 0 ? 0 : LATENCY_BOUNDS_MS[bucket - 1]!;
      return lower + ((bound - lower) * (wanted - before)) / here;
    }
    before += here;
  }
  return LATENCY_BOUNDS_MS.at(-1)!;
}

/** What was counted between two readings of the same slots. */
export function latencySince(now: Float64Array, before: Float64Array): Float64Array {
  return now.map((value, slot) => Math.max(0, value - before[slot]!));
}
