import type { Conntrack } from "./conntrack.ts";
import type { ConntrackEntry } from "./conntrack-entry.ts";

/**
 * Takes the bits of `mask` out of the mark of every entry; the others stay. For when nothing asks for them any more: a ruleset
 * that is there would take what it remembered of each flow for nothing. Returns how many entries had any. Throws a SystemError.
 */
export function forgetMarks(conntrack: Conntrack, mask: number): number {
  let count = 0;
  for (const family of ["ipv4", "ipv6"] as const) {
    const marked: ConntrackEntry[] = [];
    conntrack.dump(family, (entry) => {
      if ((entry.mark & mask) !== 0) marked.push(entry);
    });
    for (const { original } of marked) if (conntrack.setMark(original, 0, mask)) count++;
  }
  return count;
}
