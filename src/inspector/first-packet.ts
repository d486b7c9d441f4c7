import { decide } from "../decide/decide.ts";
import { ANSWER, STATE } from "../model/verdict.ts";
import { destinationAddress, sourceAddress } from "../packet/ip.ts";
import { readTcpOptions, TCP_FLAG, tcpChecksumOk } from "../packet/tcp.ts";
import { networkHeaderIsBare } from "./bare-headers.ts";
import { allowAnswer } from "./carry.ts";
import { DnsStreams } from "./dns-stream.ts";
import { enter, hold, leave, schedule, takeHeld } from "./flow-life.ts";
import type { FlowKey } from "./flow-table.ts";
import { auditKnown, deny, finalAudit, judge, record, stopWaiting } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { loneFlow } from "./lone-flow.ts";
import { plainSyn } from "./plain-syn.ts";
import { synFlow } from "./syn-flow.ts";
import type { TcpFlow } from "./tcp-flow.ts";
import { lookAnswer } from "./told.ts";

const DNS_PORT = 53;

/** A conversation with a trusted resolver: its messages are judged, not the flow. */
export function isDns(lane: Lane, arrival: Arrival, key: FlowKey): boolean {
  if (key.serverPort !== DNS_PORT && !arrival.toResolver) return false;
  const { packet } = arrival;
  return (
    arrival.toResolver ||
    lane.program.isResolver(arrival.fromServer ? sourceAddress(packet) : destinationAddress(packet))
  );
}

/** A TCP SYN: decided at once, held for a binding, or let through so that the flow can say more. */
export function synPacket(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  known: TcpFlow | null,
  now: number,
): void {
  const { segment, packet } = arrival;
  // The old connection is over, whatever was remembered of it (EVASION 14).
  lane.recollection?.forget(key);
  const guarded = lane.program.selected(cls);
  const options = readTcpOptions(packet.bytes, segment.optionsStart, segment.payloadStart);
  const odd = (segment.flags & (TCP_FLAG.fin | TCP_FLAG.rst | TCP_FLAG.urg | TCP_FLAG.ack)) !== 0 || options.signed;
  if (guarded && (odd || options.malformed || !networkHeaderIsBare(arrival) || !tcpChecksumOk(packet))) {
    lane.counters.malformed++;
    lane.drop(arrival.id);
    return;
  }
  if (known !== null && known.clientIsn === segment.seq) {
    again(lane, known, arrival);
    return;
  }
  // Another sequence number is another flow, and an old decision must not serve it (EVASION 14).
  if (known !== null) leave(lane, known, 0);
  const flow = synFlow(lane, key, arrival, workloadId, cls, now);
  flow.watching = !guarded;
  if (guarded) {
    flow.plainSyn = plainSyn(arrival);
    flow.wantsSynAck = known !== null || arrival.remembered !== STATE.none || lane.looseWindows;
  }
  if (isDns(lane, arrival, key)) {
    openDns(lane, flow, arrival);
    return;
  }
  decideSyn(lane, flow, arrival.id, segment.payloadEnd > segment.payloadStart, now);
}

/**
 * The answer to a SYN that may go on undecided. A server that has taken an earlier SYN of other numbers keeps to those, and begins to read
 * elsewhere than the inspector would; so where there may have been one, the SYN-ACK is asked about (`confirm`), and must answer this SYN.
 */
function lookAt(flow: TcpFlow): number {
  return flow.wantsSynAck && !flow.serverKnown ? ANSWER.confirm : ANSWER.look;
}

/** Sent again: the same answer as before. */
function again(lane: Lane, flow: TcpFlow, arrival: Arrival): void {
  const early = arrival.segment.payloadEnd > arrival.segment.payloadStart;
  if (flow.phase === "opening" || (early && !flow.watching)) {
    lane.drop(arrival.id);
    return;
  }
  // Its options need not be those of the first one, which the server may never have seen.
  const replacement = flow.watching ? null : plainSyn(arrival);
  lane.commands.verdict(arrival.id, flow.httpHanded ? ANSWER.http : lookAt(flow), replacement);
}

/**
 * DNS over TCP is followed for its whole life: each question is judged by its name. Data in the SYN would reach the
 * resolver unread, so such a SYN is dropped; a client falls back to a plain one.
 */
function openDns(lane: Lane, flow: TcpFlow, arrival: Arrival): void {
  if (arrival.segment.payloadEnd > arrival.segment.payloadStart) {
    lane.drop(arrival.id);
    return;
  }
  if (!lane.use.mayLook(flow.workloadId)) {
    lane.counters.limitReached++;
    lane.answer(arrival.id, flow.watching ? ANSWER.allow : ANSWER.reject);
    return;
  }
  flow.phase = "dns";
  flow.facts.application = "DNS";
  flow.decision = decide(lane.program, flow.cls, flow.facts, "enforce") ?? deny("DefaultDeny");
  flow.dns = new DnsStreams();
  enter(lane, flow);
  lane.commands.verdict(arrival.id, ANSWER.confirm, flow.plainSyn);
}

/** `early`: the SYN carries data (TCP Fast Open). While undecided it must not go: it would bring unread bytes. */
function decideSyn(lane: Lane, flow: TcpFlow, packetId: number, early: boolean, now: number): void {
  const decision = judge(lane, flow, now);
  if (decision !== null && decision.action === "Deny") {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), "rejected", now);
    lane.answer(packetId, ANSWER.reject);
    forget(lane, flow);
    return;
  }
  if (
    decision !== null &&
    (auditKnown(lane, flow) || early || (!lane.flows.find(flow) && !lane.use.mayLook(flow.workloadId)))
  ) {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), "allowed", now);
    lane.answer(packetId, early ? ANSWER.allow : allowAnswer(lane, flow, now));
    forget(lane, flow);
    return;
  }
  if (early) {
    lane.drop(packetId);
    forget(lane, flow);
    return;
  }
  const listed = lane.flows.find(flow) === flow;
  if (!listed && !lane.use.mayLook(flow.workloadId)) {
    limited(lane, flow, packetId, now);
    return;
  }
  if (!listed) enter(lane, flow);
  if (flow.resolving !== 0) {
    const held = { id: packetId, start: 0, end: 0, fin: false, fromServer: false, bytes: null };
    if (!hold(lane, flow, held)) {
      limited(lane, flow, packetId, now);
      return;
    }
    schedule(lane, flow, now);
    return;
  }
  flow.decision = decision;
  flow.watching = decision !== null;
  flow.phase = "looking";
  const answer = lookAt(flow);
  lane.commands.verdict(packetId, answer === ANSWER.look ? lookAnswer(lane, flow, now) : answer, flow.plainSyn);
}

function limited(lane: Lane, flow: TcpFlow, packetId: number, now: number): void {
  lane.counters.limitReached++;
  record(lane, flow, "flow", deny("LimitReached"), null, "rejected", now);
  lane.answer(packetId, ANSWER.reject);
  forget(lane, flow);
}

function forget(lane: Lane, flow: TcpFlow): void {
  if (flow.resolving !== 0) stopWaiting(lane, flow);
  if (lane.flows.find(flow) === flow) leave(lane, flow, 0);
}

/** The binding that a held SYN waited for has come, or will not come. */
export function resumeSyn(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.held.length === 0) return;
  const packetId = takeHeld(lane, flow, 0).id;
  decideSyn(lane, flow, packetId, false, now);
}

/**
 * TCP in mid-flow that nobody decided: at agent start it is decided on what the packet shows, once and for all; later it is
 * reset, for it may be the tail of a flow that was denied.
 */
export function unknownTcp(
  lane: Lane,
  key: FlowKey,
  arrival: Arrival,
  workloadId: number,
  cls: number,
  now: number,
): void {
  if (!lane.program.selected(cls)) {
    lane.answer(arrival.id, ANSWER.allow);
    return;
  }
  if (arrival.remembered === STATE.looking && lane.latelyAllowed.has(key, workloadId)) {
    lane.answer(arrival.id, ANSWER.pass);
    return;
  }
  if (arrival.remembered === STATE.http && !arrival.fromServer && lane.recollection?.holds(key)) {
    // In a moment it is known whether this flow can go on; the client sends again.
    lane.drop(arrival.id);
    return;
  }
  const reset = (arrival.segment.flags & TCP_FLAG.rst) !== 0;
  if (arrival.fromServer && arrival.remembered === STATE.none) {
    lane.answer(arrival.id, lane.adopting ? ANSWER.inbound : reset ? 0 : ANSWER.reject);
    return;
  }
  if (reset) {
    lane.drop(arrival.id);
    return;
  }
  const flow = loneFlow(lane, key, arrival, workloadId, cls, now);
  flow.facts.namesFinal = true;
  flow.facts.ended = true;
  // An adopted connection is never looked at again, so one to a resolver is not: its questions would go ungated.
  const adopted = lane.adopting && !isDns(lane, arrival, key);
  const decision = adopted ? decide(lane.program, cls, flow.facts, "enforce") : null;
  if (decision !== null && decision.action === "Allow") {
    record(lane, flow, "flow", decision, finalAudit(lane, flow), "allowed", now);
    lane.answer(arrival.id, ANSWER.allow);
    return;
  }
  if (lane.use.mayRecord(workloadId, now)) {
    record(lane, flow, "flow", decision ?? deny("NoRememberedDecision"), null, "rejected", now);
  }
  lane.answer(arrival.id, ANSWER.reject);
}
