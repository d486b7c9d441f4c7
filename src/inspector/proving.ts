import { classify } from "./classify.ts";
import { enter, schedule } from "./flow-life.ts";
import type { FlowKey } from "./flow-table.ts";
import { firstFacts } from "./judge.ts";
import type { KeptHello } from "./kept-hellos.ts";
import type { Arrival, Lane } from "./lane.ts";
import { tupleOf } from "./lone-flow.ts";
import { redecide } from "./redecide.ts";
import { TcpFlow } from "./tcp-flow.ts";
import { FIRST_WINDOW, MOST_SCALE, takeServerNumbers } from "./unseen-handshake.ts";

/** After this time it is forgotten: the kernel may have carried it all along. */
const FOLLOWED_AGAIN_MS = 120_000;

/**
 * A packet of a flow that is being proved, asked about because it is not what ends the proof: a hello sent again, early data, an alert, a
 * HelloRetryRequest, an end. The hello that was let go is read again, and the flow is followed again: it is returned. Null: it is
 * no longer allowed, or there is no room, and the packet has its answer.
 */
export function followAgain(
  lane: Lane,
  key: FlowKey,
  kept: KeptHello,
  arrival: Arrival,
  cls: number,
  now: number,
): TcpFlow | null {
  const { workloadId } = kept;
  if (!lane.use.mayLook(workloadId)) {
    lane.counters.limitReached++;
    lane.drop(arrival.id);
    return null;
  }
  const bytes = lane.hellos.bytes(kept);
  const tuple = tupleOf(key, arrival);
  const facts = firstFacts(lane, workloadId, tuple.server, key.serverPort, key.protocol, now);
  const flow = new TcpFlow(key, kept.flowId, workloadId, cls, tuple, facts, kept.clientIsn, lane.buffers);
  flow.bornAt = kept.bornAt;
  flow.clientScale = MOST_SCALE;
  takeServerNumbers(flow, kept.serverIsn, FIRST_WINDOW, MOST_SCALE);
  lane.hellos.forget(kept);
  flow.client.offer(0, bytes, 0, bytes.length);
  classify(flow);
  facts.namesFinal = facts.ended = true;
  flow.phase = "allowed";
  flow.again = flow.proving = true;
  flow.forgetAt = now + FOLLOWED_AGAIN_MS;
  flow.scanAt = flow.releaseEnd = flow.sent = flow.inspectedEnd;
  enter(lane, flow);
  schedule(lane, flow, now);
  redecide(lane, flow, now);
  if (!flow.gone) return flow;
  lane.drop(arrival.id);
  return null;
}
