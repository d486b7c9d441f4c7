import { BodyReader } from "../packet/http/body.ts";
import { type RequestHead, readRequestHead } from "../packet/http/head.ts";
import { deny, finalAudit, judge, record } from "./judge.ts";
import type { Lane } from "./lane.ts";
import { refuse } from "./refuse.ts";
import type { TcpFlow } from "./tcp-flow.ts";

const KEEP = 64 * 1024;
const KEEP_WHEN_TIGHT = 4 * 1024;

/**
 * HTTP under rules that look at the request: every request of the connection is read, decided and recorded, for an
 * allowed first request says nothing about the second (EVASION 39). A packet goes on only when all that it holds was
 * read and allowed, so the first denied request of a pipeline ends the connection before its packet has gone.
 */
export function startRequests(lane: Lane, flow: TcpFlow, now: number): void {
  flow.phase = "http";
  flow.factsUntil = flow.stallAt = Infinity;
  readRequests(lane, flow, now);
}

/** Reads what is in order; sets `releaseEnd` to the end of what may go, or ends the flow. */
export function readRequests(lane: Lane, flow: TcpFlow, now: number): void {
  const { limits } = lane.use;
  // Idle connections keep copies of their last framing bytes. A workload with many of them keeps less of each.
  flow.client.keep = lane.use.of(flow.workloadId).bytes * 2 > limits.reassemblyBytes ? KEEP_WHEN_TIGHT : KEEP;
  while (!flow.gone) {
    if (flow.body !== null && !readBody(lane, flow, now)) return;
    if (flow.client.unread === 0 || !readHead(lane, flow, now)) return;
  }
}

/** True: a request was allowed and taken from the stream. */
function readHead(lane: Lane, flow: TcpFlow, now: number): boolean {
  if (flow.resolving !== 0) return false;
  const { client } = flow;
  const head = readRequestHead(client.buffer, 0, client.unread, flow.scanned);
  if (head.kind === "need") {
    flow.scanned = head.scanned;
    if (flow.finAt >= 0) return unreadable(lane, flow, now);
    return false;
  }
  if (head.kind !== "head") return unreadable(lane, flow, now);
  takeFacts(flow, head);
  if (head.connect || head.upgrade !== null) {
    // What comes behind it is no longer HTTP, so a rule that looks at requests cannot be kept.
    refuse(lane, flow, deny("NameHidden"), null, false, now);
    return false;
  }
  const decision = judge(lane, flow, now);
  if (decision === null) return false;
  if (decision.action === "Deny") {
    refuse(lane, flow, decision, null, false, now);
    return false;
  }
  flow.decision = decision;
  // The flow is known by its first request; while it is followed, the lane itself decides it anew on its latest one.
  record(lane, flow, "request", decision, finalAudit(lane, flow), "http", now, flow.requests === 0);
  accept(lane, flow, head, now);
  return true;
}

/** Each request has facts of its own; the address and its names are those of the connection. */
function takeFacts(flow: TcpFlow, head: RequestHead): void {
  flow.classified = true;
  flow.facts = {
    ...flow.facts,
    namesFinal: flow.resolveUntil === Infinity && flow.facts.namesFinal && flow.facts.evidence === head.host,
    application: "HTTP",
    evidence: head.host,
    nameHidden: head.host === null && !head.hostIsAddress,
    encryptedClientHello: false,
    method: head.method,
    path: head.path,
    ended: false,
  };
}

function accept(lane: Lane, flow: TcpFlow, head: RequestHead, now: number): void {
  const { client } = flow;
  const headEnd = client.bufferStart + head.headEnd;
  if (flow.requests === 0) flow.inspectedEnd = headEnd;
  flow.requests++;
  flow.requestStart = client.bufferStart;
  flow.requestHead = head.chunked ? 0 : head.headEnd;
  flow.requestAt = now;
  flow.recalled = false;
  flow.scanned = 0;
  flow.resolved = [];
  flow.factsUntil = Infinity;
  client.settle(headEnd, false);
  flow.releaseEnd = headEnd;
  flow.body = head.chunked || head.contentLength > 0 ? new BodyReader(head.contentLength, head.chunked) : null;
  lane.names.touch(flow.workloadId, flow.facts.address, now);
}

/**
 * Walks over a body. Its data cannot move the start of the next request, whichever copy of it the server keeps, so no copy
 * is kept and a retransmission of it passes; chunk sizes and trailers can, and are kept. True: the body is over.
 */
function readBody(lane: Lane, flow: TcpFlow, now: number): boolean {
  const { client } = flow;
  const body = flow.body!;
  for (;;) {
    const step = body.step(client.buffer, 0, client.unread);
    if (step === "need") return false;
    if (step === "malformed") return unreadable(lane, flow, now);
    if (step === "done") {
      flow.body = null;
      return true;
    }
    const end = client.bufferStart + body.next;
    client.settle(end, step === "data");
    flow.releaseEnd = end;
  }
}

function unreadable(lane: Lane, flow: TcpFlow, now: number): false {
  flow.malformed = true;
  refuse(lane, flow, deny("Malformed"), null, false, now);
  return false;
}
