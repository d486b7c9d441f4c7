import { readFileSync } from "node:fs";
import { type ConntrackEntry, STATUS_ASSURED } from "../kernel/conntrack-entry.ts";
import { PROTOCOL } from "../packet/ip.ts";
import type { Patience } from "./flow-ending.ts";

/** In the order of TCP_CONNTRACK_*, from 1. */
const TCP_STATES = ["syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close"];
const ECHO = new Set<number>([PROTOCOL.icmp, PROTOCOL.icmpv6]);

/** The time-outs of this network namespace's conntrack, read once for each kind of entry. */
export function conntrackPatience(): Patience {
  const known = new Map<string, number>();
  return (entry) => {
    const name = settingOf(entry);
    let value = known.get(name);
    if (value === undefined) {
      value = read(name);
      known.set(name, value);
    }
    return value;
  };
}

function settingOf({ original, tcpState, status }: ConntrackEntry): string {
  const { protocol } = original;
  if (protocol === PROTOCOL.tcp) return `tcp_timeout_${TCP_STATES[tcpState - 1] ?? "max_retrans"}`;
  if (protocol === PROTOCOL.udp) return (status & STATUS_ASSURED) === 0 ? "udp_timeout" : "udp_timeout_stream";
  if (ECHO.has(protocol)) return protocol === PROTOCOL.icmp ? "icmp_timeout" : "icmpv6_timeout";
  return "generic_timeout";
}

function read(name: string): number {
  try {
    return Number(readFileSync(`/proc/sys/net/netfilter/nf_conntrack_${name}`, "latin1")) * 1000 || 0;
  } catch {
    return 0;
  }
}
