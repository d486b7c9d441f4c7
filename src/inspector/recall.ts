import type { FlowTuple } from "../flow/event.ts";
import { type FlowKey, newFlowKey, setTuple } from "./flow-table.ts";
import { firstFacts } from "./judge.ts";
import type { Lane } from "./lane.ts";
import type { Boundary } from "./request-boundaries.ts";
import { TcpFlow } from "./tcp-flow.ts";

/** A flow that conntrack knows in state HTTP, and when its entry began: milliseconds since the epoch, 0 if it does not say. */
export interface HandedFlow {
  readonly tuple: FlowTuple;
  readonly start: number;
}

/**
 * Says in the flow's row where it stands, or that nobody could tell. Called before each verdict that lets bytes of it go: what
 * goes beyond the boundary without a whole request behind it takes the row back first.
 */
export function noteBoundary(lane: Lane, flow: TcpFlow): void {
  const { boundaries } = lane;
  if (boundaries === null || flow.gone) return;
  const { client } = flow;
  const between = flow.body === null && flow.finAt < 0 && flow.releaseEnd <= client.bufferStart;
  if (!between || !lane.program.selected(flow.cls)) {
    if (flow.boundary >= 0 && flow.notedEnd >= 0) boundaries.open(flow.boundary);
    flow.notedEnd = -1;
    return;
  }
  if (flow.notedEnd === client.bufferStart) return;
  if (flow.boundary < 0) flow.boundary = boundaries.take(flow.workloadId);
  if (flow.boundary < 0) return;
  boundaries.write(flow.boundary, flow);
  flow.notedEnd = client.bufferStart;
}

/**
 * Follows flows of an agent that died on from where they stand. Gives those that are to be decided anew on the present program.
 * Those that it has no row of stay unknown, and are reset at their next packet.
 */
export function recallFlows(lane: Lane, handed: readonly HandedFlow[], now: number): TcpFlow[] {
  const { recollection, boundaries } = lane;
  lane.recollection = null;
  if (recollection === null || boundaries === null) return [];
  const key = newFlowKey();
  const flows: TcpFlow[] = [];
  for (const { tuple, start } of handed) {
    setTuple(key, tuple);
    const known = recollection.take(key, start);
    if (known === null) continue;
    const row = lane.program.workloadAt(key.c0, key.c1, key.c2, key.c3);
    if (row < 0 || lane.flows.find(key) !== null) {
      boundaries.release(known.row, -1);
      continue;
    }
    const workloadId = lane.program.workloadId(row);
    const flow = flowOf(lane, key, tuple, workloadId, lane.program.classOfRow(row), known.boundary, now);
    flow.boundary = known.row;
    boundaries.retake(workloadId);
    lane.flows.add(flow);
    flows.push(flow);
  }
  recollection.close();
  return flows;
}

function flowOf(
  lane: Lane,
  key: FlowKey,
  tuple: FlowTuple,
  workloadId: number,
  cls: number,
  from: Boundary,
  now: number,
): TcpFlow {
  const facts = firstFacts(lane, workloadId, tuple.server, tuple.serverPort, tuple.protocol, now);
  const flow = new TcpFlow(key, lane.newFlowId(), workloadId, cls, tuple, facts, from.start - 1, lane.buffers);
  // A SYN with this number is no copy of one that was seen.
  flow.clientIsn = -1;
  facts.application = "HTTP";
  facts.evidence = from.host;
  facts.nameHidden = from.nameHidden;
  facts.encryptedClientHello = false;
  facts.method = from.method;
  facts.path = from.path;
  flow.classified = true;
  flow.phase = "http";
  flow.httpHanded = flow.serverKnown = flow.recalled = true;
  flow.clientAck = from.clientAck;
  flow.client.restore(from.head, from.length);
  flow.sent = flow.releaseEnd = flow.acked = flow.inspectedEnd = flow.client.next;
  flow.requestHead = from.head.length;
  flow.requestAt = from.time;
  flow.notedEnd = flow.client.bufferStart;
  return flow;
}
