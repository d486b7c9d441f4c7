export interface QueueStatistics {
  /** Packets that wait for a verdict. */
  readonly waiting: number;
  /** Dropped because the queue was full. */
  readonly queueDropped: number;
  /** Dropped because the socket's buffer was full. */
  readonly userDropped: number;
}

/** Reads `/proc/net/netfilter/nfnetlink_queue`; null when queue `number` has no listener. */
export function parseQueueStatistics(text: string, number: number): QueueStatistics | null {
  for (const line of text.split("\n")) {
    const columns = line.trim().split(/ +/);
    if (columns.length < 7 || columns[0] !== String(number)) continue;
    return { waiting: Number(columns[2]), queueDropped: Number(columns[5]), userDropped: Number(columns[6]) };
  }
  return null;
}
