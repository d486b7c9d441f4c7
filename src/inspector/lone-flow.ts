import type { FlowTuple } from "../flow/event.ts";
import { destinationAddress, sourceAddress } from "../packet/ip.ts";
import type { FlowKey } from "./flow-table.ts";
import { firstFacts, type Judged } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";

export function tupleOf(key: FlowKey, arrival: Arrival): FlowTuple {
  const source = sourceAddress(arrival.packet);
  const destination = destinationAddress(arrival.packet);
  return {
    protocol: key.protocol,
    client: arrival.fromServer ? destination : source,
    server: arrival.fromServer ? source : destination,
    clientPort: key.clientPort,
    serverPort: key.serverPort,
  };
}

/** What is needed to decide and record a packet whose flow is not followed. */
export function loneFlow(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): Judged {
  const tuple = tupleOf(key, arrival);
  return {
    id: lane.newFlowId(),
    workloadId,
    tuple,
    cls,
    facts: firstFacts(lane, workloadId, tuple.server, key.serverPort, key.protocol, now),
    classified: true,
    malformed: false,
    resolving: 0,
    resolveUntil: Infinity,
    resolved: [],
  };
}
