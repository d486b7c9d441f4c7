import { readTcpOptions } from "../packet/tcp.ts";
import type { FlowKey } from "./flow-table.ts";
import { firstFacts } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { tupleOf } from "./lone-flow.ts";
import { TcpFlow } from "./tcp-flow.ts";

/** The flow that a SYN begins. It is in no table yet. */
export function synFlow(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): TcpFlow {
  const { segment, packet } = arrival;
  const tuple = tupleOf(key, arrival);
  const facts = firstFacts(lane, workloadId, tuple.server, key.serverPort, key.protocol, now);
  const flow = new TcpFlow(key, lane.newFlowId(), workloadId, cls, tuple, facts, segment.seq, lane.buffers);
  flow.bornAt = now;
  flow.clientScale = readTcpOptions(packet.bytes, segment.optionsStart, segment.payloadStart).windowScale;
  return flow;
}
