import { decide } from "../decide/decide.ts";
import { ANSWER } from "../model/verdict.ts";
import { seqAdd, seqDiff } from "../packet/tcp.ts";
import { readClientHello } from "../packet/tls.ts";
import { readServerFirst, type ServerFirst } from "../packet/tls-server.ts";
import { leave } from "./flow-life.ts";
import { deny } from "./judge.ts";
import type { Arrival, Lane } from "./lane.ts";
import { refuse } from "./refuse.ts";
import type { TcpFlow } from "./tcp-flow.ts";

const SERVER_BYTES = 512;
const HANDSHAKE = 22;
const RECORD_HEADER = 5;

/**
 * A flow goes to the kernel for good only when the server itself has acknowledged the end of what was inspected: until
 * then another copy of those bytes could still reach it (EVASION 6, 7). Over TLS the server's first record must have been
 * seen too, for a HelloRetryRequest makes the client say hello again (RFC 8446 §4.1.4; EVASION 28).
 */
export function mayHandOver(flow: TcpFlow): boolean {
  if (flow.phase !== "allowed" || flow.acked < flow.inspectedEnd) return false;
  return flow.hello === "none" || flow.hello === "second" || (flow.hello === "first" && flow.serverSpoke);
}

/** The reply packet that completes the proof carries the answer; later segments that still wait go with it. */
export function handOver(lane: Lane, flow: TcpFlow, packetId: number, now: number): void {
  lane.names.touch(flow.workloadId, flow.facts.address, now);
  lane.answer(packetId, ANSWER.allow);
  leave(lane, flow, ANSWER.allow);
}

/**
 * Looks at the server's first record. False: the segment leaves a gap before it, so it is dropped and comes again in
 * order. A server that answers a hello never needs many bytes for this.
 */
export function readServerBytes(flow: TcpFlow, arrival: Arrival): boolean {
  if (flow.hello !== "first" || flow.serverSpoke) return true;
  const { segment, packet } = arrival;
  const at = seqDiff(segment.seq, seqAdd(flow.serverIsn, 1));
  if (at > flow.serverCount) return false;
  if (flow.serverBytes === null && at === 0) {
    // Nearly always the first segment tells, and then nothing has to be kept of it.
    const end = Math.min(segment.payloadEnd, segment.payloadStart + SERVER_BYTES);
    const told = readServerFirst(packet.bytes, segment.payloadStart, end);
    if (told.kind !== "need") {
      serverTold(flow, told);
      return true;
    }
  }
  flow.serverBytes ??= new Uint8Array(SERVER_BYTES);
  const fresh = segment.payloadStart + flow.serverCount - at;
  const room = SERVER_BYTES - flow.serverCount;
  if (fresh < segment.payloadEnd && room > 0) {
    const bytes = packet.bytes.subarray(fresh, Math.min(segment.payloadEnd, fresh + room));
    flow.serverBytes.set(bytes, flow.serverCount);
    flow.serverCount += bytes.length;
  }
  const first = readServerFirst(flow.serverBytes, 0, flow.serverCount);
  if (first.kind === "need" && flow.serverCount < SERVER_BYTES) return true;
  serverTold(flow, first);
  return true;
}

function serverTold(flow: TcpFlow, first: ServerFirst): void {
  if (first.kind === "serverHello" && first.helloRetryRequest) flow.hello = "retried";
  else flow.serverSpoke = true;
}

/**
 * Behind the first hello, before it is known whether the server wants another one, early data, alerts and the
 * ChangeCipherSpec of middlebox compatibility may pass; a handshake record may not, for it could be a second hello with
 * another name, sent before it was asked for. Sets `releaseEnd`.
 */
export function readBehindHello(lane: Lane, flow: TcpFlow, now: number): void {
  const { client } = flow;
  if (flow.hello === "none" || flow.hello === "second" || flow.serverSpoke) {
    flow.releaseEnd = client.next;
    return;
  }
  const buf = client.buffer;
  while (flow.scanAt < client.next) {
    const at = flow.scanAt - client.bufferStart;
    if (buf[at] === HANDSHAKE) {
      flow.releaseEnd = flow.scanAt;
      if (flow.hello === "retried") readSecondHello(lane, flow, now);
      return;
    }
    if (at + RECORD_HEADER > client.unread) break;
    flow.scanAt += RECORD_HEADER + ((buf[at + 3]! << 8) | buf[at + 4]!);
  }
  flow.releaseEnd = client.next;
}

/** The second hello must name the same server as the first, and the flow is decided again on it. */
function readSecondHello(lane: Lane, flow: TcpFlow, now: number): void {
  const { client, facts } = flow;
  const at = flow.scanAt - client.bufferStart;
  const hello = readClientHello(client.buffer, at, client.unread);
  if (hello.kind === "need") return;
  if (hello.kind !== "hello" || hello.serverName !== facts.evidence) {
    flow.malformed = true;
    refuse(lane, flow, deny("Malformed"), null, false, now);
    return;
  }
  const hidden = facts.encryptedClientHello === true || hello.encryptedClientHello;
  const decision = decide(
    lane.program,
    flow.cls,
    { ...facts, encryptedClientHello: hidden, ended: true, namesFinal: true },
    "enforce",
  );
  if (decision === null || decision.action === "Deny") {
    refuse(lane, flow, decision ?? deny("Malformed"), null, false, now);
    return;
  }
  flow.hello = "second";
  flow.inspectedEnd = client.bufferStart + hello.consumedEnd;
  flow.releaseEnd = client.next;
}
