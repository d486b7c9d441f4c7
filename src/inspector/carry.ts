import type { Decision } from "../model/decision.ts";
import { ANSWER } from "../model/verdict.ts";
import { PROTOCOL } from "../packet/ip.ts";
import { datagramFacts } from "./datagram-facts.ts";
import type { FlowKey } from "./flow-table.ts";
import { auditKnown, deny, finalAudit, firstFacts, type Judged, type Known, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { loneFlow } from "./lone-flow.ts";

const DNS_PORT = 53;

/**
 * Flows that the kernel opens itself (docs/adr/0014-carried-flows.md): may it open the next flow like this one, and what is the record of
 * one that it opened? Both ask `openingDecision`: what is decided on the first packet alone, while names may still be learned and bytes
 * still be read. Such a decision holds however those turn out, so that a name that the pod learns meanwhile changes nothing.
 */

/** The answer to the first packet of a flow that has just been allowed: `carry` where more like it may be opened unasked, else `allow`. */
export function allowAnswer(lane: Lane, flow: Judged & FlowKey, now: number): number {
  const { carried } = lane;
  const { protocol, serverPort, workloadId, cls, tuple } = flow;
  if (carried === null || (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp)) return ANSWER.allow;
  if (serverPort === DNS_PORT || flow.facts.application === "QUIC" || !carried.again(flow)) return ANSWER.allow;
  const facts = firstFacts(lane, workloadId, tuple.server, serverPort, protocol, now);
  if (protocol === PROTOCOL.udp) datagramFacts(facts, false);
  const opening = { cls, facts };
  if (openingDecision(lane, opening)?.action !== "Allow" || !auditKnown(lane, opening)) return ANSWER.allow;
  // What a binding decides must not outlive it.
  if (lane.names.boundUntil(workloadId, tuple.server, now) < now + carried.lifeMs) return ANSWER.allow;
  return carried.take(workloadId, flow, now) ? ANSWER.carry : ANSWER.allow;
}

/** A flow that the kernel has opened: recorded as if it had been asked about. One that would not be allowed any more ends. */
export function openedFlow(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): void {
  const flow = loneFlow(lane, key, arrival, workloadId, cls, now);
  if (key.protocol === PROTOCOL.udp) datagramFacts(flow.facts, false);
  lane.carried?.opened(workloadId);
  const decision = openingDecision(lane, flow);
  if (decision?.action === "Allow") {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), "allowed", now);
    return;
  }
  // A policy, a label or a binding has changed between the packet and now.
  record(lane, flow, "flow", decision ?? deny("NoRememberedDecision"), finalAudit(lane, flow), "rejected", now);
  lane.commands.end(flow.tuple);
}

/** Null: more would have to be known. */
function openingDecision(lane: Lane, { cls, facts }: Known): Decision | null {
  return lane.memo.decide(lane.program, cls, facts, "enforce");
}
