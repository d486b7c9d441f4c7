import { type Cidr, cidrCovers, parseCidr } from "./cidr.ts";
import { cidrUnion } from "./cidr-union.ts";

function range(text: string): Cidr {
  const read = parseCidr(text);
  if (!read.ok) throw new Error(read.problem);
  return read.cidr;
}

/** What nobody on the Internet has: RFC 1918, shared address space (RFC 6598), unique local addresses (RFC 4193). */
export const PRIVATE_RANGES: readonly Cidr[] = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "fc00::/7",
].map(range);

export interface Sorted {
  /** Parts of the ranges that lie in `own`, in the same order. */
  readonly own: readonly Cidr[];
  /** Ranges of which some address lies in none of `own`. */
  readonly others: readonly Cidr[];
}

/** Tells which of the ranges, or which parts of them, lie in `own`. */
export function sortByOwner(ranges: readonly Cidr[], own: readonly Cidr[]): Sorted {
  const kept: Cidr[] = [];
  const others: Cidr[] = [];
  for (const one of ranges) {
    // Of two ranges either one holds the other, or they have no address in common.
    const parts = own.flatMap((ours) => (cidrCovers(ours, one) ? [one] : cidrCovers(one, ours) ? [ours] : []));
    kept.push(...cidrUnion(parts));
    if (!cidrUnion(parts).some((part) => cidrCovers(part, one))) others.push(one);
  }
  return { own: kept, others };
}
