/** The candidate that `text` was probably meant to be: case and plural ignored first, then few typing mistakes. Null if none is near. */
export function nearest(text: string, candidates: readonly string[]): string | null {
  if (text.length > 64) return null;
  const plain = (word: string) => word.toLowerCase().replace(/[-_]/g, "").replace(/s$/, "");
  const same = candidates.find((candidate) => plain(candidate) === plain(text));
  if (same !== undefined) return same;
  let best: string | null = null;
  let least = Math.max(1, Math.floor(text.length / 3)) + 1;
  for (const candidate of candidates) {
    const mistakes = distance(text.toLowerCase(), candidate.toLowerCase());
    if (mistakes < least) [best, least] = [candidate, mistakes];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const differs = a[row - 1] === b[column - 1] ? 0 : 1;
      let cost = Math.min(above[column]! + 1, current[column - 1]! + 1, above[column - 1]! + differs);
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, before[column - 2]! + 1);
      }
      current.push(cost);
    }
    [before, above] = [above, current];
  }
  return above[b.length]!;
}
