import { decide } from "../decide/decide.ts";
import { ANSWER } from "../model/verdict.ts";
import { seqDiff, TCP_FLAG, tcpChecksumOk } from "../packet/tcp.ts";
import { headersAreBare } from "./bare-headers.ts";
import { classifyRest } from "./classify.ts";
import { charge, flush, leave, schedule, stopWatching } from "./flow-life.ts";
import { inspectStream } from "./inspect-stream.ts";
import { deny, finalAudit, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { OUT_OF_ORDER } from "./limits.ts";
import { end, refuse } from "./refuse.ts";
import type { Offered } from "./stream.ts";
import type { Held, TcpFlow } from "./tcp-flow.ts";
import { unseenHandshake } from "./unseen-handshake.ts";

const NO_WORDS = new Uint8Array(0);

/** A packet of the client, not a SYN, on a flow that the lane follows. */
export function clientSegment(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  if (!plausible(flow, arrival)) {
    lane.counters.malformed++;
    if (flow.watching) lane.answer(arrival.id, ANSWER.pass);
    else lane.drop(arrival.id);
    return;
  }
  const segment = arrival.segment;
  if ((segment.flags & TCP_FLAG.rst) !== 0) {
    clientReset(lane, flow, arrival, now);
    return;
  }
  flow.clientAck = segment.ack;
  const length = segment.payloadEnd - segment.payloadStart;
  const fin = (segment.flags & TCP_FLAG.fin) !== 0;
  if (length === 0 && !fin) {
    lane.answer(arrival.id, ANSWER.pass);
    return;
  }
  const start = flow.client.offsetOf(segment.seq);
  if (!charge(lane, flow, length)) {
    overBound(lane, flow, arrival, now);
    return;
  }
  const offered = length > 0 ? offer(lane, flow, arrival, start) : start > flow.client.next ? "future" : "new";
  if (flow.watching) {
    watched(lane, flow, arrival, offered, fin, now);
    return;
  }
  judgeOffered(lane, flow, arrival, offered, start, start + length, fin, now);
}

function offer(lane: Lane, flow: TcpFlow, arrival: Arrival, start: number): Offered {
  // A later segment whose packet could not be held must not enter the stream: it would count as seen, never having gone.
  if (start > flow.client.next && (flow.client.waiting >= OUT_OF_ORDER || !lane.use.mayHold(flow.workloadId)))
    return "full";
  const segment = arrival.segment;
  return flow.client.offer(start, arrival.packet.bytes, segment.payloadStart, segment.payloadEnd);
}

function judgeOffered(
  lane: Lane,
  flow: TcpFlow,
  arrival: Arrival,
  offered: Offered,
  start: number,
  end: number,
  fin: boolean,
  now: number,
): void {
  if (offered === "differs") {
    lane.counters.ambiguousCopies++;
    refuse(lane, flow, deny("AmbiguousCopy"), arrival.id, false, now);
  } else if (offered === "forgotten" && flow.recalled) {
    unremembered(lane, flow, arrival, now);
  } else if (offered === "forgotten") {
    lane.counters.droppedCopies++;
    lane.drop(arrival.id);
  } else if (offered === "full") {
    lane.counters.limitReached++;
    lane.drop(arrival.id);
  } else if (offered === "old" && end <= flow.releaseEnd && !(fin && flow.finAt < 0)) {
    lane.answer(arrival.id, ANSWER.pass);
  } else if (
    flow.held.some((held) => !held.fromServer && held.start === start && held.end === end && held.fin === fin)
  ) {
    // A second copy of a held packet adds nothing; the first one goes when the flow is decided.
    lane.counters.droppedCopies++;
    lane.drop(arrival.id);
  } else {
    inspectHeld(lane, flow, { id: arrival.id, start, end, fin, fromServer: false, bytes: null }, offered, now);
  }
}

/** Sent again for want of an acknowledgement, or a copy that came late: nobody knows any more what of it was let go. */
function unremembered(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  const decision = deny("NoRememberedDecision");
  record(lane, flow, "flow", decision, null, "rejected", now);
  end(lane, flow, decision, arrival.id, false, NO_WORDS);
}

/**
 * Every packet is held first and released by what the reading of its bytes comes to. Only one that is still held after that
 * counts against the bound: a workload that holds much elsewhere can still send what is allowed.
 */
function inspectHeld(lane: Lane, flow: TcpFlow, held: Held, offered: Offered, now: number): void {
  const use = lane.use.of(flow.workloadId);
  flow.held.push(held);
  use.held++;
  noteFin(flow);
  noteProgress(lane, flow, offered, now);
  inspectStream(lane, flow, now);
  if (flow.gone) return;
  flush(lane, flow);
  if (flow.held.includes(held)) {
    lane.counters.held++;
    if (use.held > lane.use.limits.heldPackets) {
      refuse(lane, flow, deny("LimitReached"), null, false, now);
      return;
    }
  }
  schedule(lane, flow, now);
}

/** A FIN counts once everything before it is there. */
function noteFin(flow: TcpFlow): void {
  for (const held of flow.held) {
    if (held.fin && !held.fromServer && held.end <= flow.client.next) flow.finAt = held.end;
  }
}

function noteProgress(lane: Lane, flow: TcpFlow, offered: Offered, now: number): void {
  if (flow.factsUntil === Infinity && flow.phase === "looking") flow.factsUntil = now + lane.config.limits.factsTimeout;
  if (offered !== "new") return;
  flow.stallAt = Infinity;
  // A long body makes progress, with or without losses.
  if (flow.body !== null) flow.factsUntil = Infinity;
}

function overBound(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  if (flow.watching) {
    stopWatching(lane, flow, arrival.id, now);
    return;
  }
  refuse(lane, flow, deny("LimitReached"), arrival.id, false, now);
}

/** Of a watched flow every packet goes on; whatever cannot be read in one way ends the watching. */
function watched(lane: Lane, flow: TcpFlow, arrival: Arrival, offered: Offered, fin: boolean, now: number): void {
  if (offered !== "new" && offered !== "old") {
    stopWatching(lane, flow, arrival.id, now);
    return;
  }
  if (fin) flow.finAt = flow.client.next;
  inspectStream(lane, flow, now);
  if (flow.gone) {
    lane.answer(arrival.id, ANSWER.allow);
    return;
  }
  flow.releaseEnd = flow.client.next;
  lane.answer(arrival.id, ANSWER.pass);
}

/**
 * What an honest client never sends and a server may discard: had the inspector believed such a segment, the two would
 * read different streams (EVASION 8-13, 15). Sent again properly, it is welcome.
 */
function plausible(flow: TcpFlow, arrival: Arrival): boolean {
  const { segment } = arrival;
  const flags = segment.flags;
  if (!tcpChecksumOk(arrival.packet)) return false;
  if ((flags & TCP_FLAG.syn) !== 0 || (flags & TCP_FLAG.urg) !== 0) return false;
  // No signed option either (EVASION 9): none is taken but those that are known.
  if (!headersAreBare(arrival, flow.phase === "looking")) return false;
  // A reset may carry words (RFC 9293 §3.5.3), which nobody would have read.
  if ((flags & TCP_FLAG.rst) !== 0) return segment.payloadEnd === segment.payloadStart;
  if ((flags & TCP_FLAG.ack) === 0) return false;
  if (!flow.serverKnown && !unseenHandshake(flow, segment.ack)) return false;
  if (flow.httpHanded) return true;
  if (seqDiff(segment.ack, flow.serverNext) > 0 || seqDiff(segment.ack, flow.serverIsn + 1) < 0) return false;
  const end = flow.client.offsetOf(segment.seq) + segment.payloadEnd - segment.payloadStart;
  return end <= flow.acked + flow.serverWindow + 1;
}

/**
 * Only a reset with the exact next sequence number ends a flow here: any other one the server would ignore, or not, and a
 * flow forgotten for it could go on. With the state gone, bytes that follow find no decision (EVASION 11).
 */
function clientReset(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  if (flow.watching) {
    stopWatching(lane, flow, arrival.id, now);
    return;
  }
  const next = flow.client.next + (flow.finAt >= 0 ? 1 : 0);
  if (flow.phase !== "opening" && flow.client.offsetOf(arrival.segment.seq) !== next) {
    lane.drop(arrival.id);
    return;
  }
  if (flow.phase === "opening") {
    lane.drop(arrival.id);
    leave(lane, flow, 0);
    return;
  }
  if (flow.sent === next) {
    lane.answer(arrival.id, ANSWER.pass);
    leave(lane, flow, 0);
    return;
  }
  // The client gives up on bytes that never went. What they would have come to is worth a line.
  classifyRest(flow);
  flow.facts.namesFinal = flow.facts.ended = true;
  const decision = decide(lane.program, flow.cls, flow.facts, "enforce") ?? deny("Malformed");
  record(lane, flow, "flow", decision, finalAudit(lane, flow), "rejected", now);
  end(lane, flow, decision, arrival.id, false, NO_WORDS);
}
