import { type Cidr, cidrCovers, cidrIsIPv4, cidrOf } from "./cidr.ts";

/**
 * The fewest ranges that hold the same addresses: what lies in another is left out, two halves become one. Sorted: IPv4 first, then by
 * address.
 */
export function cidrUnion(cidrs: readonly Cidr[]): Cidr[] {
  const kept: Cidr[] = [];
  for (const cidr of [...cidrs].sort(compareCidrs)) {
    const last = kept.at(-1);
    if (last !== undefined && cidrCovers(last, cidr)) continue;
    kept.push(cidr);
    for (let whole = joined(kept); whole !== null; whole = joined(kept)) kept.splice(-2, 2, whole);
  }
  return kept;
}

/** The range that the last two are the halves of, or null. */
function joined(kept: readonly Cidr[]): Cidr | null {
  const [low, high] = kept.slice(-2);
  if (low === undefined || high === undefined || low.bits !== high.bits) return null;
  if (cidrIsIPv4(low) !== cidrIsIPv4(high) || low.bits === (cidrIsIPv4(low) ? 96 : 0)) return null;
  const whole = cidrOf(low.base, low.bits - 1);
  // The half of an IPv6 range that holds the mapped addresses is none of IPv4's.
  return cidrIsIPv4(whole) === cidrIsIPv4(low) && cidrCovers(whole, high) ? whole : null;
}

function compareCidrs(a: Cidr, b: Cidr): number {
  const family = Number(cidrIsIPv4(b)) - Number(cidrIsIPv4(a));
  if (family !== 0) return family;
  for (const word of ["w0", "w1", "w2", "w3"] as const) {
    if (a.base[word] !== b.base[word]) return a.base[word] - b.base[word];
  }
  return a.bits - b.bits;
}
