/**
 * How the connection tracking of a node is shared. A workload may have at most half as many entries as are free: alone it gets a third of the
 * table, n that take what they can get have 1/(n + 2) of it each, and 2/(n + 2) stay free for all others. So nothing has to be set, and nobody
 * is bounded while there is room. (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998.)
 */
const PART_OF_FREE = 1 / 2;
/** So many every workload may have, however full the table is. */
export const LEAST_ENTRIES = 1_024;

/** Entries that one workload may have. */
export function mostEntries(entries: number, limit: number): number {
  return Math.max(LEAST_ENTRIES, (limit - entries) * PART_OF_FREE);
}

/** Whether anybody can have more than that: else nobody has to be counted. */
export function isCrowded(entries: number, limit: number): boolean {
  return entries > mostEntries(entries, limit);
}

/**
 * Entries of the table up to which nobody can have more than that, if the largest share of `entries` was `largest`: each entry more makes what a workload has one more,
 * and what it may have half of one less. Infinity where somebody has too much already: that is known.
 */
export function roomUntil(entries: number, largest: number, limit: number): number {
  const room = mostEntries(entries, limit) - largest;
  return room < 0 ? Number.POSITIVE_INFINITY : entries + room / (1 + PART_OF_FREE);
}
