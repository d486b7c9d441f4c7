import { ANSWER } from "../model/verdict.ts";
import { readTcpOptions, seqAdd, seqDiff, TCP_FLAG } from "../packet/tcp.ts";
import { dnsServerBytes } from "./dns-stream.ts";
import { flush, hold, leave, schedule, stopWatching } from "./flow-life.ts";
import { handOver, mayHandOver, readBehindHello, readServerBytes } from "./hand-over.ts";
import { decideLooking } from "./inspect-stream.ts";
import { deny } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { noteBoundary } from "./recall.ts";
import { refuse } from "./refuse.ts";
import type { TcpFlow } from "./tcp-flow.ts";
import { takeServerNumbers, unseenHandshake } from "./unseen-handshake.ts";

/** A packet of the server on a flow that the lane follows. */
export function serverSegment(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  const flags = arrival.segment.flags;
  if (flow.phase === "opening") {
    lane.drop(arrival.id);
    return;
  }
  if ((flags & TCP_FLAG.rst) !== 0) {
    serverReset(lane, flow, arrival, now);
    return;
  }
  if ((flags & TCP_FLAG.syn) !== 0) {
    synAck(lane, flow, arrival);
    return;
  }
  const answers = (flags & TCP_FLAG.ack) !== 0;
  if (!answers || (!flow.serverKnown && !unseenHandshake(flow, arrival.segment.seq))) {
    unexpected(lane, flow, arrival);
    return;
  }
  if (flow.httpHanded) {
    lane.answer(arrival.id, ANSWER.http);
    return;
  }
  const { segment } = arrival;
  const acked = flow.client.offsetOf(segment.ack);
  // It acknowledges what was never sent to it: not the server of this connection.
  if (!flow.watching && acked > flow.sent) {
    lane.drop(arrival.id);
    return;
  }
  flow.acked = Math.max(flow.acked, Math.min(acked, flow.client.next));
  flow.serverWindow = segment.window * 2 ** flow.serverScale;
  const length = segment.payloadEnd - segment.payloadStart;
  if (flow.phase === "dns") {
    dnsServerBytes(lane, flow, arrival, now);
    return;
  }
  if (length === 0) {
    passed(flow, arrival, 0);
    acknowledged(lane, flow, arrival, now);
    return;
  }
  payload(lane, flow, arrival, length, now);
}

/** Split handshakes and simultaneous opens (EVASION 13) are not followed: the SYN-ACK must answer our SYN exactly. */
function synAck(lane: Lane, flow: TcpFlow, arrival: Arrival): void {
  const { segment, packet } = arrival;
  const answers = (segment.flags & TCP_FLAG.ack) !== 0 && segment.ack === seqAdd(flow.clientIsn, 1);
  if (!answers || segment.payloadEnd > segment.payloadStart) {
    unexpected(lane, flow, arrival);
    return;
  }
  if (flow.serverKnown && segment.seq !== flow.serverIsn) {
    unexpected(lane, flow, arrival);
    return;
  }
  if (!flow.serverKnown) {
    const { windowScale } = readTcpOptions(packet.bytes, segment.optionsStart, segment.payloadStart);
    takeServerNumbers(flow, segment.seq, segment.window, windowScale);
  }
  lane.answer(arrival.id, flow.wantsSynAck && flow.phase === "looking" ? ANSWER.look : ANSWER.pass);
}

function unexpected(lane: Lane, flow: TcpFlow, arrival: Arrival): void {
  if (flow.watching) {
    lane.answer(arrival.id, ANSWER.pass);
    return;
  }
  lane.counters.malformed++;
  lane.drop(arrival.id);
}

/** The connection is over; whatever the client sends on it finds no decision. */
function serverReset(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  if (flow.watching) {
    stopWatching(lane, flow, arrival.id, now);
    return;
  }
  lane.answer(arrival.id, ANSWER.pass);
  leave(lane, flow, 0);
}

function payload(lane: Lane, flow: TcpFlow, arrival: Arrival, length: number, now: number): void {
  if (flow.phase === "looking") {
    if (flow.client.next > 0 || flow.client.waiting > 0) {
      if (flow.watching) lane.answer(arrival.id, ANSWER.pass);
      else lane.drop(arrival.id);
      return;
    }
    serverFirst(lane, flow, arrival, length, now);
    return;
  }
  if (flow.phase === "allowed" && !readServerBytes(flow, arrival)) {
    lane.drop(arrival.id);
    return;
  }
  passed(flow, arrival, length);
  acknowledged(lane, flow, arrival, now);
  if (flow.gone || flow.phase !== "allowed") return;
  // What waited for the server's first record can be judged now.
  readBehindHello(lane, flow, now);
  if (!flow.gone) flush(lane, flow);
}

/** The server spoke before the client: SSH, SMTP. Nothing more can be learned, so the flow is decided on this packet. */
function serverFirst(lane: Lane, flow: TcpFlow, arrival: Arrival, length: number, now: number): void {
  const facts = flow.facts;
  facts.application = "ServerFirst";
  facts.evidence = null;
  facts.encryptedClientHello = false;
  facts.method = null;
  facts.path = null;
  flow.classified = true;
  if (flow.watching) {
    stopWatching(lane, flow, arrival.id, now);
    return;
  }
  const held = { id: arrival.id, start: 0, end: length, fin: false, fromServer: true, bytes: null };
  if (!hold(lane, flow, held)) {
    refuse(lane, flow, deny("LimitReached"), arrival.id, true, now);
    return;
  }
  decideLooking(lane, flow, now);
  if (!flow.gone) schedule(lane, flow, now);
}

/** Keeps count of what the client has been given. */
function passed(flow: TcpFlow, arrival: Arrival, length: number): void {
  const { segment } = arrival;
  const next = seqAdd(segment.seq, length + ((segment.flags & TCP_FLAG.fin) !== 0 ? 1 : 0));
  if (seqDiff(next, flow.serverNext) > 0) flow.serverNext = next;
}

function acknowledged(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  if (flow.phase === "http" && flow.acked >= flow.inspectedEnd && flow.requests > 0) {
    flow.httpHanded = true;
    lane.use.of(flow.workloadId).looking--;
    noteBoundary(lane, flow);
    lane.answer(arrival.id, ANSWER.http);
    return;
  }
  if (mayHandOver(flow)) {
    handOver(lane, flow, arrival.id, now);
    return;
  }
  lane.answer(arrival.id, ANSWER.pass);
}
