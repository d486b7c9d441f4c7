import { ANSWER } from "../model/verdict.ts";
import { enter, leave, schedule } from "./flow-life.ts";
import type { FlowKey } from "./flow-table.ts";
import { deny, finalAudit, judge, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { DOUBT_MS } from "./syn-doubt.ts";
import { synFlow } from "./syn-flow.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/**
 * SYNs that the kernel lets pass by itself (docs/adr/0017-told-syns.md): may the next one like this go on unasked, and what comes of one
 * that did?
 */

/** The answer to a SYN that goes on undecided: `tell` where more like it may go on unasked, else `look`. */
export function lookAnswer(lane: Lane, flow: TcpFlow, now: number): number {
  const { told } = lane;
  // Only what is asked about anyway while it is undecided; a SYN that has to be changed must come here.
  lane.syns.note(now);
  if (told === null || flow.watching || flow.plainSyn !== null || !lane.program.isolated(flow.cls)) return ANSWER.look;
  if (lane.beside || lane.synDoubt.holds(flow.workloadId, now)) return ANSWER.look;
  if (!told.again(flow) || lane.syns.crowded(now) || !hasRoom(lane, flow.workloadId)) return ANSWER.look;
  return told.take(flow.workloadId, flow, now) ? ANSWER.tell : ANSWER.look;
}

/** Below its half: what is on its way while the agent stops to answer `tell` must find room, too. */
function hasRoom(lane: Lane, workloadId: number): boolean {
  return lane.use.of(workloadId).looking * 2 < lane.use.limits.lookingFlows;
}

/**
 * A SYN that has passed, as far as it could. Where it opened its entry in conntrack, that lets no SYN-ACK pass which answers another one; so
 * whatever is known of these ports is of a connection that is over (EVASION 14), and its numbers are where the server begins to read.
 *
 * Two that begin at the same moment, on two processors, both find no entry and are both told of; conntrack drops the one that comes to be
 * confirmed last, and nothing says which. Were that one believed, a server would begin to read elsewhere than the inspector. So neither is.
 *
 * The flow is `looking` in the kernel, whatever is decided here: one that may not be is ended, one that may be goes on with its next packet.
 */
export function toldSyn(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  known: TcpFlow | null,
  now: number,
): void {
  lane.syns.note(now);
  const doubtful = lane.synDoubt.holds(workloadId, now) || (known !== null && beside(known, arrival, now));
  if (known !== null) leave(lane, known, 0);
  // Nobody selects it any more: its next packet is answered without a flow.
  if (!lane.program.selected(cls)) return;
  const flow = synFlow(lane, key, arrival, workloadId, cls, now);
  if (!lane.use.mayLook(workloadId)) {
    // Without a flow, what it sends is refused; and nothing is known any more that another SYN of its ports could be held against.
    lane.synDoubt.of(workloadId, now);
    lane.counters.limitReached++;
    if (lane.use.mayRecord(workloadId, now)) record(lane, flow, "flow", deny("LimitReached"), null, "rejected", now);
    return;
  }
  enter(lane, flow);
  if (doubtful) {
    disbelieve(lane, flow, workloadId, now);
    return;
  }
  const decision = judge(lane, flow, now);
  if (decision !== null && decision.action === "Deny") {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), "rejected", now);
    lane.commands.end(flow.tuple);
    leave(lane, flow, 0);
    return;
  }
  flow.decision = decision;
  flow.watching = decision !== null;
  flow.phase = "looking";
  if (flow.resolving !== 0) schedule(lane, flow, now);
}

/** Whether `known` may have begun at the same moment with another SYN, rather than be over. */
function beside(known: TcpFlow, { segment }: Arrival, now: number): boolean {
  if (known.clientIsn === segment.seq) return false;
  return now - known.bornAt < DOUBT_MS || (known.client.next === 0 && known.client.waiting === 0);
}

/** It ends. Until that is known to the kernel it stays, so that nothing of it goes on and a third SYN is not believed either. */
function disbelieve(lane: Lane, flow: TcpFlow, workloadId: number, now: number): void {
  flow.phase = "looking";
  flow.wantsSynAck = true;
  lane.counters.ambiguousCopies++;
  if (lane.use.mayRecord(workloadId, now)) record(lane, flow, "flow", deny("AmbiguousCopy"), null, "rejected", now);
  lane.commands.end(flow.tuple);
}
