import { flowIdText } from "../flow/describe.ts";
import type { Decision } from "../model/decision.ts";
import { ANSWER } from "../model/verdict.ts";
import { buildTcp } from "../packet/build.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import { TLS_ALERT_ACCESS_DENIED } from "../packet/tls.ts";
import { leave, takeHeld } from "./flow-life.ts";
import { forbiddenResponse } from "./forbidden.ts";
import { deny, finalAudit, record } from "./judge.ts";
import type { Lane } from "./lane.ts";
import type { TcpFlow } from "./tcp-flow.ts";

const EMPTY = new Uint8Array(0);
const NOTHING_HELD = -1;

/**
 * Ends a flow whose SYN has passed. Both ends are told at once: the client in its own protocol where it has one (TLS alert,
 * HTTP 403), else by the kernel's reset; the server by a reset of ours with the exact next sequence number, for it would
 * wait otherwise, and a half-open connection is a resource that a pod could pile up elsewhere.
 *
 * `packetId`: the packet that brought the denial, if it is not among the held ones; it comes from the server if
 * `fromServer`.
 */
export function refuse(
  lane: Lane,
  flow: TcpFlow,
  given: Decision,
  packetId: number | null,
  fromServer: boolean,
  now: number,
): void {
  const decision = flow.malformed && given.policy === null ? deny("Malformed") : given;
  const request = flow.phase === "http";
  record(lane, flow, request ? "request" : "flow", decision, finalAudit(lane, flow), "rejected", now);
  end(lane, flow, decision, packetId, fromServer, politeAnswer(lane, flow, decision));
}

/** As `refuse`, without a record of its own (the caller wrote one), with the bytes to say to the client. */
export function end(
  lane: Lane,
  flow: TcpFlow,
  decision: Decision,
  packetId: number | null,
  fromServer: boolean,
  words: Uint8Array,
): void {
  if (decision.reason === "LimitReached") lane.counters.limitReached++;
  const carrier = packetId === null ? firstHeld(lane, flow) : packetId;
  const established = flow.serverKnown;
  if (established) injectReset(lane, flow);
  if (carrier === NOTHING_HELD) {
    lane.commands.end(flow.tuple);
  } else if (established && words.length > 0) {
    injectToClient(lane, flow, TCP_FLAG.psh | TCP_FLAG.ack | TCP_FLAG.fin, words);
    lane.answer(carrier, ANSWER.cut);
  } else if (established && fromServer) {
    // The kernel resets the sender of the packet, which is the server; the client needs a reset of its own.
    injectToClient(lane, flow, TCP_FLAG.rst | TCP_FLAG.ack, EMPTY);
    lane.answer(carrier, ANSWER.reject);
  } else {
    lane.answer(carrier, ANSWER.reject);
  }
  leave(lane, flow, 0);
}

function firstHeld(lane: Lane, flow: TcpFlow): number {
  const index = flow.held.findIndex((held) => !held.fromServer);
  return index < 0 ? NOTHING_HELD : takeHeld(lane, flow, index).id;
}

function politeAnswer(lane: Lane, flow: TcpFlow, decision: Decision): Uint8Array {
  if (flow.facts.application === "TLS") return TLS_ALERT_ACCESS_DENIED;
  if (flow.facts.application === "HTTP") return forbiddenResponse(flowIdText(lane.run, flow.id), decision);
  return EMPTY;
}

/** What the server expects next is exactly what was let through: RFC 5961 §3.2 takes no other reset. */
function injectReset(lane: Lane, flow: TcpFlow): void {
  const { client, server, clientPort, serverPort } = flow.tuple;
  const packet = buildTcp({
    source: client,
    destination: server,
    sourcePort: clientPort,
    destinationPort: serverPort,
    seq: flow.client.seqOf(flow.sent),
    ack: flow.httpHanded ? flow.clientAck : flow.serverNext,
    flags: TCP_FLAG.rst | TCP_FLAG.ack,
    window: 0,
  });
  lane.commands.inject(packet, "server");
}

/**
 * On a kept HTTP connection the server's direction is not seen, so what the client last acknowledged stands for what it
 * expects: between a request and its answer, which is where a denial comes, that is exact.
 */
function injectToClient(lane: Lane, flow: TcpFlow, flags: number, payload: Uint8Array): void {
  const { client, server, clientPort, serverPort } = flow.tuple;
  const packet = buildTcp({
    source: server,
    destination: client,
    sourcePort: serverPort,
    destinationPort: clientPort,
    seq: flow.httpHanded ? flow.clientAck : flow.serverNext,
    ack: flow.client.seqOf(flow.client.next + (flow.finAt >= 0 ? 1 : 0)),
    flags,
    window: 0xffff,
    payload,
  });
  lane.commands.inject(packet, "client");
}
