/**
 * Divides `budget` among owners that want `totals`: nobody gets less because another wants much. Returns the most that one
 * may have; Infinity when all fit.
 */
export function fairShare(totals: Iterable<number>, budget: number): number {
  const sorted = [...totals].sort((a, b) => a - b);
  let left = budget;
  for (const [at, total] of sorted.entries()) {
    const share = left / (sorted.length - at);
    if (total > share) return share;
    left -= total;
  }
  return Number.POSITIVE_INFINITY;
}

/** Of each owner's items, oldest first, the newest that fit into its fair share; their order stays. */
export function newestThatFit<T>(
  items: readonly T[],
  ownerOf: (item: T) => number,
  sizeOf: (item: T) => number,
  budget: number,
): readonly T[] {
  const totals = new Map<number, number>();
  for (const item of items) totals.set(ownerOf(item), (totals.get(ownerOf(item)) ?? 0) + sizeOf(item));
  const share = fairShare(totals.values(), budget);
  if (share === Number.POSITIVE_INFINITY) return items;
  // What of each owner stands before the item is more than has to go: from there on the rest fits.
  return items.filter((item) => {
    const owner = ownerOf(item);
    const left = totals.get(owner)!;
    totals.set(owner, left - sizeOf(item));
    return left <= share;
  });
}
