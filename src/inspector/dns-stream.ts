import { ANSWER } from "../model/verdict.ts";
import { patchTcpPayload } from "../packet/build.ts";
import { dnsFrameSize } from "../packet/dns-answer.ts";
import { seqAdd, seqDiff, TCP_FLAG } from "../packet/tcp.ts";
import type { DnsContext } from "./dns/guard.ts";
import { dnsEvent } from "./dns/udp.ts";
import { hold, leave, schedule } from "./flow-life.ts";
import { deny, record } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { FLOW_BYTES, HELD_BYTES, HELD_PACKETS, STALL } from "./limits.ts";
import { end } from "./refuse.ts";
import { Stream } from "./stream.ts";
import type { Held, TcpFlow } from "./tcp-flow.ts";

const SMALLEST_FRAME = 14;
const KEEP = 16 * 1024;
const NO_WORDS = new Uint8Array(0);

interface Patch {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** The server's direction of a DNS connection; the questions are in the flow's own client stream. */
export class DnsStreams {
  answers: Stream | null = null;
  /** Answer bytes up to here may go to the client. */
  releaseEnd = 0;
  /** Changes of constant length to bytes of the answer stream; applied to every copy of them. */
  patches: Patch[] = [];
  /** The server has said that it will send no more. */
  serverEnds = false;
}

/**
 * Questions over TCP (RFC 7766): each is judged by its name before its bytes go. A denied one is answered here, the
 * connection ends with it. Sets `releaseEnd`, or ends the flow.
 */
export function dnsClientBytes(lane: Lane, flow: TcpFlow, now: number): void {
  const { client } = flow;
  while (client.unread > 0) {
    const size = dnsFrameSize(client.buffer, 0, client.unread);
    if (size === 0) break;
    if (size < SMALLEST_FRAME) {
      unreadable(lane, flow, now);
      return;
    }
    if (size > client.unread) break;
    if (!takeQuestion(lane, flow, size, now)) return;
    client.settle(client.bufferStart + size, false);
    flow.releaseEnd = client.bufferStart;
  }
  if (client.unread === 0) flow.releaseEnd = client.next;
  else if (flow.finAt >= 0 && !flow.watching) unreadable(lane, flow, now);
}

/** Judges the whole question at the front of the stream. False: the connection has ended with it. */
function takeQuestion(lane: Lane, flow: TcpFlow, size: number, now: number): boolean {
  const verdict = lane.dns.question(contextOf(lane, flow), flow.client.buffer, 2, size, now);
  lane.counters.dnsQuestions++;
  const event = dnsEvent(flow.id, flow.workloadId, flow.tuple, verdict, now);
  if (verdict.kind === "pass") {
    if (verdict.name !== null && !verdict.repeated) lane.commands.record(event);
    return true;
  }
  if (flow.watching) return true;
  const silent = verdict.kind === "deny" && verdict.silent;
  if (verdict.kind === "malformed") lane.counters.malformed++;
  else if (!silent) lane.counters.dnsDenied++;
  if (!silent) lane.commands.record(event);
  end(lane, flow, event.decision, null, false, verdict.answer === null ? NO_WORDS : framed(verdict.answer));
  return false;
}

/**
 * Answers over TCP: learned from and, where a message holds ECH keys, patched in place. Packets of a message that is not
 * complete wait for it, as far as the server goes on sending without an acknowledgement; a longer message goes on
 * unpatched and nothing is learned from it early, for a stalled resolver would be worse.
 */
export function dnsServerBytes(lane: Lane, flow: TcpFlow, arrival: Arrival, now: number): void {
  const { segment, packet } = arrival;
  const dns = flow.dns!;
  const length = segment.payloadEnd - segment.payloadStart;
  dns.answers ??= new Stream(seqAdd(flow.serverIsn, 1), FLOW_BYTES, KEEP, lane.buffers);
  const start = dns.answers.offsetOf(segment.seq);
  const fin = (segment.flags & TCP_FLAG.fin) !== 0;
  if (fin) dns.serverEnds = true;
  if (length === 0 && (!fin || start <= dns.releaseEnd)) {
    given(flow, start + (fin ? 1 : 0));
    lane.answer(arrival.id, ANSWER.pass);
    return;
  }
  const offered = dns.answers.offer(start, packet.bytes, segment.payloadStart, segment.payloadEnd);
  if (offered === "new") readAnswers(lane, flow, now);
  if (flow.gone) {
    lane.answer(arrival.id, ANSWER.cut);
    return;
  }
  const bytes = packet.bytes.slice(packet.start, packet.end);
  const held: Held = { id: arrival.id, start, end: start + length, fin, fromServer: true, bytes };
  const known = offered === "new" || offered === "old" || offered === "future";
  flushAnswers(lane, flow);
  if (flow.watching || (known && held.end <= dns.releaseEnd)) give(lane, flow, held);
  else if (offered === "old" || !known || !hold(lane, flow, held)) lane.drop(arrival.id);
  releaseAnswers(lane, flow, now);
  schedule(lane, flow, now);
}

function readAnswers(lane: Lane, flow: TcpFlow, now: number): void {
  const dns = flow.dns!;
  const answers = dns.answers!;
  for (;;) {
    const size = dnsFrameSize(answers.buffer, 0, answers.unread);
    if (size === 0 || size > answers.unread) break;
    const outcome = size < SMALLEST_FRAME ? null : lane.dns.answer(contextOf(lane, flow), answers.buffer, 2, size, now);
    if ((outcome === null || outcome.kind === "drop") && !flow.watching) {
      // A message cannot be taken out of a stream: an answer to no question ends the connection.
      lane.counters.dnsUnasked++;
      unreadable(lane, flow, now);
      return;
    }
    if (outcome !== null && outcome.kind === "pass" && !flow.watching) {
      for (const patch of outcome.patches) {
        dns.patches.push({ start: answers.bufferStart + 2 + patch.offset, bytes: patch.bytes });
      }
    }
    answers.settle(answers.bufferStart + size, false);
    dns.releaseEnd = Math.max(dns.releaseEnd, answers.bufferStart);
  }
  while (dns.patches.length > 0 && dns.patches[0]!.start < answers.floor) dns.patches.shift();
}

/** Gives the client what is judged, and what waits for too long. */
function releaseAnswers(lane: Lane, flow: TcpFlow, now: number): void {
  const dns = flow.dns!;
  let bytes = 0;
  let packets = 0;
  for (const held of flow.held) {
    if (!held.fromServer || held.end <= dns.releaseEnd) continue;
    packets++;
    bytes += held.end - held.start;
  }
  if (packets > HELD_PACKETS || bytes > HELD_BYTES) dns.releaseEnd = dns.answers!.next;
  flushAnswers(lane, flow);
  flow.stallAt = flow.held.some((held) => held.fromServer) ? now + STALL : Infinity;
}

function flushAnswers(lane: Lane, flow: TcpFlow): void {
  const ready = flow.held.filter((held) => held.fromServer && held.end <= flow.dns!.releaseEnd);
  if (ready.length === 0) return;
  const rest = flow.held.filter((held) => !ready.includes(held));
  flow.held.splice(0, flow.held.length, ...rest);
  lane.use.of(flow.workloadId).held -= ready.length;
  for (const held of ready) give(lane, flow, held);
}

/** The stall of a DNS connection: an answer that does not get complete goes on as it is. */
export function dnsStalled(lane: Lane, flow: TcpFlow): void {
  const dns = flow.dns!;
  if (dns.answers !== null) dns.releaseEnd = Math.max(dns.releaseEnd, dns.answers.next);
  flushAnswers(lane, flow);
}

function give(lane: Lane, flow: TcpFlow, held: Held): void {
  given(flow, held.end + (held.fin ? 1 : 0));
  lane.commands.verdict(held.id, ANSWER.pass, patched(flow.dns!, held));
}

function given(flow: TcpFlow, end: number): void {
  const next = flow.dns!.answers!.seqOf(Math.max(0, end));
  if (seqDiff(next, flow.serverNext) > 0) flow.serverNext = next;
}

/** A copy of the packet with every patch that touches it; null where none does. */
function patched(dns: DnsStreams, held: Held): Uint8Array | null {
  let bytes: Uint8Array | null = null;
  for (const patch of dns.patches) {
    const low = Math.max(patch.start, held.start);
    const high = Math.min(patch.start + patch.bytes.length, held.end);
    if (low >= high) continue;
    const part = patch.bytes.subarray(low - patch.start, high - patch.start);
    bytes = patchTcpPayload(bytes ?? held.bytes!, low - held.start, part) ?? bytes;
  }
  return bytes;
}

function unreadable(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.watching) {
    leave(lane, flow, ANSWER.allow);
    return;
  }
  record(lane, flow, "dns", deny("Malformed"), null, "rejected", now);
  end(lane, flow, deny("Malformed"), null, false, NO_WORDS);
}

function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(message.length + 2);
  frame[0] = message.length >>> 8;
  frame[1] = message.length;
  frame.set(message, 2);
  return frame;
}

function contextOf(lane: Lane, flow: TcpFlow): DnsContext {
  return { workloadId: flow.workloadId, cls: flow.cls, program: lane.program, flowKey: flow.tuple };
}
