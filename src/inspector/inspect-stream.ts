import { decide } from "../decide/decide.ts";
import type { Decision } from "../model/decision.ts";
import { ANSWER } from "../model/verdict.ts";
import { classify, classifyRest } from "./classify.ts";
import { dnsClientBytes, dnsStalled } from "./dns-stream.ts";
import { flush, leave, schedule, stopWatching } from "./flow-life.ts";
import { readBehindHello } from "./hand-over.ts";
import { readRequests, startRequests } from "./http-flow.ts";
import { audit, deny, finalAudit, judge, record, stopWaiting } from "./judge.ts";
import type { Lane } from "./lane.ts";
import { HELD_BYTES, HELD_PACKETS, STALL } from "./limits.ts";
import { prove } from "./prove.ts";
import { refuse } from "./refuse.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/** New bytes of the client are in order: reads on, as the phase of the flow asks. Sets `releaseEnd`, or ends the flow. */
export function inspectStream(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.phase === "looking") inspectHello(lane, flow, now);
  else if (flow.phase === "allowed") readBehindHello(lane, flow, now);
  else if (flow.phase === "dns") dnsClientBytes(lane, flow, now);
  else if (flow.phase === "http") {
    readRequests(lane, flow, now);
    if (!flow.gone) pace(lane, flow, now);
  }
}

function inspectHello(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.classified) return;
  if (!classify(flow)) {
    if (flow.finAt < 0) {
      if (!flow.watching) pace(lane, flow, now);
      return;
    }
    classifyRest(flow);
  }
  decideLooking(lane, flow, now);
}

/** Decides a flow that is classified, or whose binding has come. Null outcomes leave everything held. */
export function decideLooking(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.watching) {
    if (flow.classified || audit(lane, flow) !== null) stopWatching(lane, flow, null, now);
    return;
  }
  const judged = judge(lane, flow, now);
  if (judged === null) return;
  const decision = flow.malformed && restsOnName(lane, flow, judged) ? deny("Malformed") : judged;
  if (decision.action === "Deny") {
    const serverSpoke = flow.facts.application === "ServerFirst";
    const index = serverSpoke ? flow.held.findIndex((held) => held.fromServer) : -1;
    refuse(lane, flow, decision, index < 0 ? null : takeServerPacket(lane, flow, index), serverSpoke, now);
    return;
  }
  flow.factsUntil = flow.stallAt = Infinity;
  allowed(lane, flow, decision, now);
}

function takeServerPacket(lane: Lane, flow: TcpFlow, index: number): number {
  const [held] = flow.held.splice(index, 1);
  lane.use.of(flow.workloadId).held--;
  return held!.id;
}

function allowed(lane: Lane, flow: TcpFlow, decision: Decision, now: number): void {
  const { facts } = flow;
  if (facts.application === "HTTP" && !flow.malformed && facts.method !== null && !allowedAnyway(lane, flow)) {
    startRequests(lane, flow, now);
    if (!flow.gone) pace(lane, flow, now);
    return;
  }
  flow.decision = decision;
  record(lane, flow, "flow", decision, finalAudit(lane, flow), "allowed", now);
  if (!flow.classified || facts.application === "ServerFirst") {
    // Nothing of the client was inspected, so nothing has to be proven: the kernel carries the rest at once.
    leave(lane, flow, ANSWER.allow);
    return;
  }
  flow.phase = "allowed";
  flow.scanAt = flow.inspectedEnd;
  if (prove(lane, flow, now)) return;
  readBehindHello(lane, flow, now);
  if (!flow.gone) flush(lane, flow);
}

/**
 * A name that was resolved opens a port without evidence where none is needed; but bytes that two readers read
 * differently may carry another name to one of them. An address rule stands: it asks for no name.
 */
function restsOnName(lane: Lane, flow: TcpFlow, decision: Decision): boolean {
  if (decision.action === "Deny" || !lane.program.strict(flow.cls)) return false;
  const nameless = { ...flow.facts, names: [], namesFinal: true, ended: true };
  return decide(lane.program, flow.cls, nameless, "enforce")?.action !== "Allow";
}

/** Would the flow be allowed whatever it asks? Then its later requests need not be read. */
function allowedAnyway(lane: Lane, flow: TcpFlow): boolean {
  const facts = {
    ...flow.facts,
    application: "Unknown" as const,
    evidence: undefined,
    nameHidden: false,
    encryptedClientHello: undefined,
    method: undefined,
    path: undefined,
    ended: false,
  };
  return decide(lane.program, flow.cls, facts, "enforce")?.action === "Allow";
}

/**
 * Holding a hello back must not stop it from becoming complete: a client with a small window sends no more until its first
 * bytes are acknowledged. Released piecewise is only what could be part of an allowed hello (docs/adr/0006-held-hellos.md).
 */
function pace(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.resolving !== 0) return;
  let packets = 0;
  let bytes = 0;
  let oldest = Infinity;
  for (const held of flow.held) {
    if (held.fromServer || held.end > flow.client.next || held.end <= flow.releaseEnd) continue;
    packets++;
    bytes += held.end - held.start;
    oldest = Math.min(oldest, held.end);
  }
  if (packets === 0) return;
  if (mayGoPiecewise(lane, flow) && (packets > HELD_PACKETS || bytes > HELD_BYTES)) flow.releaseEnd = oldest;
  if (flow.stallAt === Infinity) flow.stallAt = now + STALL;
}

function mayGoPiecewise(lane: Lane, flow: TcpFlow): boolean {
  return flow.facts.names.length > 0 || flow.requests > 0 || !lane.program.strict(flow.cls);
}

/** A deadline of the flow has come: the resolver is late, the hello stalls, or its facts end. */
export function flowDue(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.resolving !== 0 && now >= flow.resolveUntil) {
    stopWaiting(lane, flow);
    resume(lane, flow, now);
  } else if (now >= flow.forgetAt) {
    leave(lane, flow, 0);
  } else if (now >= flow.factsUntil) factsEnd(lane, flow, now);
  else if (now >= flow.stallAt) {
    flow.stallAt = Infinity;
    if (flow.phase === "dns") dnsStalled(lane, flow);
    else if (mayGoPiecewise(lane, flow)) flow.releaseEnd = Math.max(flow.releaseEnd, flow.client.next);
  }
  if (flow.gone) return;
  flush(lane, flow);
  schedule(lane, flow, now);
}

/** Goes on after the resolver answered, or did not. */
export function resume(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.phase === "http") readRequests(lane, flow, now);
  else if (flow.phase === "looking") decideLooking(lane, flow, now);
  if (flow.gone) return;
  flush(lane, flow);
  schedule(lane, flow, now);
}

function factsEnd(lane: Lane, flow: TcpFlow, now: number): void {
  flow.factsUntil = flow.stallAt = Infinity;
  if (flow.phase !== "looking") {
    flow.malformed = true;
    refuse(lane, flow, deny("Malformed"), null, false, now);
    return;
  }
  classifyRest(flow);
  decideLooking(lane, flow, now);
}
