export interface ConntrackStatistics {
  /** Flows that this network namespace tracks. */
  readonly entries: number;
  /** How many may be tracked in each namespace of the machine. */
  readonly limit: number;
  /** Packets dropped because the table was full; summed over the processors. */
  readonly dropped: number;
}

/**
 * Reads what `nf_conntrack_count`, `nf_conntrack_max` (/proc/sys/net/netfilter) and /proc/net/stat/nf_conntrack hold; the
 * numbers of the latter are hexadecimal, a line for each processor. Null where they cannot be read.
 */
export function parseConntrackStatistics(count: string, limit: string, stat: string): ConntrackStatistics | null {
  const [head = "", ...lines] = stat.trim().split("\n");
  const column = head.trim().split(/\s+/).indexOf("drop");
  const entries = Number.parseInt(count, 10);
  const most = Number.parseInt(limit, 10);
  if (column < 0 || Number.isNaN(entries) || Number.isNaN(most)) return null;
  let dropped = 0;
  for (const line of lines) {
    const value = Number.parseInt(line.trim().split(/\s+/)[column] ?? "", 16);
    if (!Number.isNaN(value)) dropped += value;
  }
  return { entries, limit: most, dropped };
}
