import { readFileSync } from "node:fs";

const SYSCTL = "/proc/sys/net/netfilter/nf_conntrack_";

/** How many flows this network namespace tracks, and how many may be tracked; null: the kernel does not say. */
export function readConntrackFill(): { readonly entries: number; readonly limit: number } | null {
  try {
    const entries = Number.parseInt(readFileSync(`${SYSCTL}count`, "latin1"), 10);
    const limit = Number.parseInt(readFileSync(`${SYSCTL}max`, "latin1"), 10);
    return entries >= 0 && limit > 0 ? { entries, limit } : null;
  } catch {
    return null;
  }
}
