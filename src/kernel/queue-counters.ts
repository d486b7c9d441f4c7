/** Errors that the lane survives; monotonic. */
export interface QueueCounters {
  /** Packets handed out by `receive`. */
  received: number;
  /** Verdicts that the kernel refused, for example because the packet had gone (ENOENT). */
  refusedVerdicts: number;
  /** Flushes that could not be sent, and the verdicts lost with them. */
  failedFlushes: number;
  lostVerdicts: number;
  /** Datagrams that were not understood. */
  malformed: number;
}
