import { ANSWER, STATE } from "../model/verdict.ts";
import { PROTOCOL } from "../packet/ip.ts";
import { looksLikeQuicLongHeader } from "../packet/quic.ts";
import { newUdpDatagram, parseUdp } from "../packet/udp.ts";
import { allowAnswer } from "./carry.ts";
import { datagramFacts } from "./datagram-facts.ts";
import { DatagramFlow } from "./datagram-flow.ts";
import type { FlowKey } from "./flow-table.ts";
import { deny, finalAudit, firstFacts, judge, record, stopWaiting } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { HELD_DATAGRAMS } from "./limits.ts";
import { loneFlow, tupleOf } from "./lone-flow.ts";

/**
 * UDP, ICMP and every other protocol: the first packet is also the first payload, so all that the flow will ever show is
 * there at once. A flow that is allowed already and shows a QUIC long header comes back and is decided again.
 */
export function datagram(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): void {
  const guarded = lane.program.selected(cls);
  if (arrival.fromServer) {
    replyOfUnknown(lane, arrival, guarded);
    return;
  }
  const payload = newUdpDatagram();
  const udp = arrival.packet.protocol === PROTOCOL.udp;
  if (udp && !parseUdp(arrival.packet, payload) && guarded) {
    malformedDatagram(lane, key, arrival, workloadId, cls, now);
    return;
  }
  const known = lane.flows.find(key);
  if (known !== null) {
    if (known.kind === "datagram") {
      wait(lane, known, arrival.id);
      return;
    }
    lane.drop(arrival.id);
    return;
  }
  const tuple = tupleOf(key, arrival);
  const facts = firstFacts(lane, workloadId, tuple.server, key.serverPort, key.protocol, now);
  const flow = new DatagramFlow(key, lane.newFlowId(), workloadId, cls, tuple, facts);
  const quic = udp && looksLikeQuicLongHeader(arrival.packet.bytes, payload.payloadStart, payload.payloadEnd);
  datagramFacts(facts, quic);
  decideDatagram(lane, flow, arrival.id, arrival.remembered === STATE.allowed, now);
}

function decideDatagram(lane: Lane, flow: DatagramFlow, packetId: number, questionedAgain: boolean, now: number): void {
  const decision = judge(lane, flow, now);
  if (decision === null) {
    if (lane.use.mayLook(flow.workloadId) && lane.use.mayHold(flow.workloadId)) {
      lane.flows.add(flow);
      lane.use.of(flow.workloadId).looking++;
      wait(lane, flow, packetId);
      lane.deadlines.set(flow, flow.resolveUntil);
      return;
    }
    stopWaiting(lane, flow);
    lane.counters.limitReached++;
    record(lane, flow, "flow", deny("LimitReached"), null, "rejected", now);
    lane.answer(packetId, ANSWER.reject);
    return;
  }
  const allow = decision.action === "Allow";
  if (!allow || !questionedAgain) {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), allow ? "allowed" : "rejected", now);
  }
  const allowed = allow && !questionedAgain ? allowAnswer(lane, flow, now) : ANSWER.allow;
  lane.answer(packetId, allow ? allowed : ANSWER.reject);
}

/** Waits with the first packet of its flow; nothing but the latest loss tells a datagram sender to slow down. */
function wait(lane: Lane, flow: DatagramFlow, packetId: number): void {
  if (flow.waiting.length >= HELD_DATAGRAMS || !lane.use.mayHold(flow.workloadId)) {
    lane.counters.limitReached++;
    lane.drop(packetId);
    return;
  }
  lane.use.of(flow.workloadId).held++;
  lane.counters.held++;
  flow.waiting.push(packetId);
}

/** The binding has come, or the wait is over: decided for all packets that waited. */
export function resumeDatagram(lane: Lane, flow: DatagramFlow, now: number): void {
  if (flow.gone) return;
  const decision = judge(lane, flow, now);
  if (decision === null) {
    lane.deadlines.set(flow, flow.resolveUntil);
    return;
  }
  const allow = decision.action === "Allow";
  record(lane, flow, "flow", decision, finalAudit(lane, flow), allow ? "allowed" : "rejected", now);
  leaveDatagram(lane, flow, allow ? ANSWER.allow : ANSWER.reject);
}

/** Forgets the flow; what waits gets `answer`. */
export function leaveDatagram(lane: Lane, flow: DatagramFlow, answer: number): void {
  if (flow.gone) return;
  flow.gone = true;
  if (flow.resolving !== 0) stopWaiting(lane, flow);
  for (const id of flow.waiting) lane.answer(id, answer);
  const use = lane.use.of(flow.workloadId);
  use.held -= flow.waiting.length;
  use.looking--;
  flow.waiting.length = 0;
  lane.deadlines.clear(flow);
  lane.flows.remove(flow);
  lane.use.settle(flow.workloadId);
}

/** A reply to a flow that nobody decided: opened from outside before the agent ran, or not asked for at all. */
function replyOfUnknown(lane: Lane, arrival: Arrival, guarded: boolean): void {
  if (!guarded) {
    lane.answer(arrival.id, ANSWER.allow);
    return;
  }
  if (lane.adopting && arrival.remembered === STATE.none) {
    lane.answer(arrival.id, ANSWER.inbound);
    return;
  }
  lane.drop(arrival.id);
}

export function malformedDatagram(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): void {
  lane.counters.malformed++;
  if (lane.use.mayRecord(workloadId, now)) {
    record(lane, loneFlow(lane, key, arrival, workloadId, cls, now), "flow", deny("Malformed"), null, "none", now);
  }
  lane.drop(arrival.id);
}
