import { decide } from "../decide/decide.ts";
import type { Decision } from "../model/decision.ts";
import { leaveDatagram, resumeDatagram } from "./datagram.ts";
import { resumeSyn } from "./first-packet.ts";
import { flush, leave, schedule } from "./flow-life.ts";
import { decideLooking } from "./inspect-stream.ts";
import { deny, record } from "./judge.ts";
import type { AnyFlow, Lane } from "./lane.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/**
 * One followed flow under a new Program (DESIGN §4.5). An address that now belongs to another workload takes its flows
 * with it: they were opened under an identity that is gone.
 */
export function redecide(lane: Lane, flow: AnyFlow, now: number): void {
  const { program } = lane;
  const row = program.workloadAt(flow.c0, flow.c1, flow.c2, flow.c3);
  const same = row >= 0 && program.workloadId(row) === flow.workloadId;
  if (!same) {
    noLonger(lane, flow, null, now);
    return;
  }
  flow.cls = program.classOfRow(row);
  if (flow.kind === "datagram") {
    if (flow.resolving === 0) resumeDatagram(lane, flow, now);
  } else if (flow.phase === "opening") {
    // The held SYN is decided on what is known; a question under way goes on.
    if (decide(program, flow.cls, flow.facts, "enforce") !== null) resumeSyn(lane, flow, now);
  } else if (flow.phase === "looking") looking(lane, flow, now);
  else if (flow.phase === "dns") flow.watching = !program.selected(flow.cls);
  else decided(lane, flow, now);
}

function looking(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.watching) {
    const decision = decide(lane.program, flow.cls, flow.facts, "enforce");
    if (decision !== null && decision.action === "Deny") {
      noLonger(lane, flow, decision, now);
      return;
    }
    if (decision !== null) return;
    // Now its facts matter. What was watched is in the stream, and has gone.
    flow.watching = false;
    flow.decision = null;
    flow.sent = flow.releaseEnd = flow.client.next;
  }
  decideLooking(lane, flow, now);
  if (flow.gone) return;
  flush(lane, flow);
  schedule(lane, flow, now);
}

function decided(lane: Lane, flow: TcpFlow, now: number): void {
  const facts = { ...flow.facts, namesFinal: true, ended: true };
  const decision = decide(lane.program, flow.cls, facts, "enforce");
  if (decision === null || decision.action === "Deny") noLonger(lane, flow, decision, now);
}

function noLonger(lane: Lane, flow: AnyFlow, decision: Decision | null, now: number): void {
  const policy = decision?.policy ?? null;
  const rule = decision?.rule ?? null;
  record(lane, flow, "flow", { ...deny("NoLongerAllowed"), policy, rule }, null, "rejected", now);
  lane.commands.end(flow.tuple);
  if (flow.kind === "datagram") leaveDatagram(lane, flow, 0);
  else leave(lane, flow, 0);
}
