import type { FlowEnding } from "../flow/ending.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { PROTOCOL } from "../packet/ip.ts";
import { flowOf } from "./translation.ts";

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
    asked: entry.original.destination,
    askedPort: entry.original.destinationPort,
    mark: entry.mark,
    stop: entry.stop,
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
