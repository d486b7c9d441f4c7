import { ANSWER } from "../model/verdict.ts";
import { enter, leave, schedule } from "./flow-life.ts";
import type { FlowKey } from "./flow-table.ts";
import { deny, finalAudit, judge, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
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
  if (!told.again(flow) || lane.syns.crowded(now) || !hasRoom(lane, flow.workloadId)) return ANSWER.look;
  return told.take(flow.workloadId, flow, now) ? ANSWER.tell : ANSWER.look;
}

/** Below its half: what is on its way while the agent stops to answer `tell` must find room, too. */
function hasRoom(lane: Lane, workloadId: number): boolean {
  return lane.use.of(workloadId).looking * 2 < lane.use.limits.lookingFlows;
}

/**
 * A SYN that has passed. It opened its entry in conntrack, which therefore lets no SYN-ACK pass that answers another one; so whatever is
 * known of these ports is of a connection that is over (EVASION 14), and its numbers are where the server begins to read.
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
  if (known !== null) leave(lane, known, 0);
  // Nobody selects it any more: its next packet is answered without a flow.
  if (!lane.program.selected(cls)) return;
  const flow = synFlow(lane, key, arrival, workloadId, cls, now);
  if (!lane.use.mayLook(workloadId)) {
    // Without a flow, what it sends is refused.
    lane.counters.limitReached++;
    if (lane.use.mayRecord(workloadId, now)) record(lane, flow, "flow", deny("LimitReached"), null, "rejected", now);
    return;
  }
  enter(lane, flow);
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
