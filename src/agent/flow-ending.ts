import type { FlowTuple } from "../flow/event.ts";
import type { ConntrackEntry, Tuple } from "../kernel/conntrack-entry.ts";
import { PROTOCOL } from "../packet/ip.ts";
import { flowOf } from "./translation.ts";

/** The end of a flow, as conntrack counted it. Times in milliseconds, from the first packet to the last; 0 where accounting was off. */
export interface FlowEnding {
  readonly flow: FlowTuple;
  /** As conntrack keys it. */
  readonly original: Tuple;
  readonly mark: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly durationMs: number;
  /** What the kernel saw last of it. TCP: `reset`, `closed` (both ends said so) or `timeout`; others have only the last. */
  readonly lastSeen: "reset" | "closed" | "timeout";
}

/** How long conntrack keeps an entry like this one after its last packet, in milliseconds. */
export type Patience = (entry: ConntrackEntry) => number;

/** TCP_CONNTRACK_* of <linux/netfilter/nf_conntrack_tcp.h>: states of a connection that its ends have closed. */
const CLOSING = { first: 4, last: 7 };
const CLOSE = 8;

/** What an entry says of its flow, at any moment of its life; with `patience`, at its end. */
export function endingOf(entry: ConntrackEntry, patience: Patience = () => 0): FlowEnding {
  const stop = entry.stop > 0 ? entry.stop - waited(entry, patience) : Date.now();
  return {
    flow: flowOf(entry),
    original: entry.original,
    mark: entry.mark,
    sentPackets: entry.originalCounters.packets,
    sentBytes: entry.originalCounters.bytes,
    receivedPackets: entry.replyCounters.packets,
    receivedBytes: entry.replyCounters.bytes,
    durationMs: entry.start > 0 ? Math.max(0, stop - entry.start) : 0,
    lastSeen: lastSeen(entry),
  };
}

/** How long conntrack waited after the last packet before it let the entry go, in milliseconds. */
function waited(entry: ConntrackEntry, patience: Patience): number {
  return Math.max(0, patience(entry) - entry.timeout * 1000);
}

function lastSeen({ original, tcpState }: ConntrackEntry): FlowEnding["lastSeen"] {
  if (original.protocol !== PROTOCOL.tcp) return "timeout";
  if (tcpState === CLOSE) return "reset";
  return tcpState >= CLOSING.first && tcpState <= CLOSING.last ? "closed" : "timeout";
}
