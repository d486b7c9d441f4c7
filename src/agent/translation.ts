import type { FlowEnding } from "../flow/ending.ts";
import type { FlowTuple } from "../flow/event.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry, Tuple } from "../kernel/conntrack-entry.ts";
import { isIPv4, sameAddress } from "../net/address.ts";
import { ICMP, ICMPV6 } from "../net/ports.ts";

const ECHO_REQUEST = { [ICMP]: 8, [ICMPV6]: 128 } as Readonly<Record<number, number>>;

/**
 * Finds the conntrack entry of a flow that is known as the forward hook sees it: the pod's own address, and the server
 * after Service translation. Neither of the entry's tuples need be that: the original one holds the address that the pod
 * asked, the reply one ends at the node's address where the flow is masqueraded. Null: conntrack does not know it, or only a walk over
 * all entries would find it and it must not be walked.
 */
export function findEntry(
  conntrack: Pick<Conntrack, "get" | "dump">,
  flow: FlowTuple,
  mayWalk: () => boolean = always,
): ConntrackEntry | null {
  const untranslated = conntrack.get(forwardTuple(flow), "original");
  if (untranslated !== null && isFlow(untranslated, flow)) return untranslated;
  const notMasqueraded = conntrack.get(reverseTuple(flow), "reply");
  if (notMasqueraded !== null && isFlow(notMasqueraded, flow)) return notMasqueraded;
  if (!mayWalk()) return null;
  // Translated at both ends: only a walk finds it. Rare (a Service that leads outside), and never per packet.
  let found: ConntrackEntry | null = null;
  conntrack.dump(isIPv4(flow.client) ? "ipv4" : "ipv6", (entry) => {
    if (found === null && isFlow(entry, flow)) found = entry;
  });
  return found;
}

const always = (): boolean => true;

/** Whether an entry is that of a flow: it comes from the pod, and ends at the server after translation. */
export function isFlow(entry: ConntrackEntry, flow: FlowTuple): boolean {
  const of = flowOf(entry);
  return (
    of.protocol === flow.protocol &&
    of.clientPort === flow.clientPort &&
    of.serverPort === flow.serverPort &&
    sameAddress(of.client, flow.client) &&
    sameAddress(of.server, flow.server)
  );
}

/** The flow of an entry, as the forward hook sees it. */
export function flowOf(entry: ConntrackEntry): FlowTuple {
  const { original, reply } = entry;
  const echo = original.protocol in ECHO_REQUEST;
  return {
    protocol: original.protocol,
    client: original.source,
    clientPort: echo ? original.icmpId : original.sourcePort,
    server: reply.source,
    serverPort: echo ? 0 : reply.sourcePort,
  };
}

/** How conntrack keys the entry that has ended. */
export function originalOf({ flow, asked, askedPort }: FlowEnding): Tuple {
  return tuple(flow, flow.client, asked, flow.clientPort, askedPort, ECHO_REQUEST[flow.protocol] ?? 0);
}

function forwardTuple(flow: FlowTuple): Tuple {
  return tuple(flow, flow.client, flow.server, flow.clientPort, flow.serverPort, ECHO_REQUEST[flow.protocol] ?? 0);
}

function reverseTuple(flow: FlowTuple): Tuple {
  const echoReply = flow.protocol === ICMPV6 ? 129 : 0;
  return tuple(flow, flow.server, flow.client, flow.serverPort, flow.clientPort, echoReply);
}

function tuple(
  flow: FlowTuple,
  source: Tuple["source"],
  destination: Tuple["destination"],
  sourcePort: number,
  destinationPort: number,
  icmpType: number,
): Tuple {
  const echo = flow.protocol in ECHO_REQUEST;
  return {
    protocol: flow.protocol,
    source,
    destination,
    sourcePort: echo ? 0 : sourcePort,
    destinationPort: echo ? 0 : destinationPort,
    icmpId: echo ? flow.clientPort : 0,
    icmpType,
    icmpCode: 0,
  };
}
