import { ANSWER } from "../model/verdict.ts";
import { finalAudit, record, stopWaiting } from "./judge.ts";
import type { Lane } from "./lane.ts";
import { FLOW_BYTES } from "./limits.ts";
import { noteBoundary } from "./recall.ts";
import type { Held, TcpFlow } from "./tcp-flow.ts";

/** Puts a flow into the table; the caller has asked `use.mayLook`. */
export function enter(lane: Lane, flow: TcpFlow): void {
  lane.flows.add(flow);
  lane.use.of(flow.workloadId).looking++;
}

/** Forgets a flow. What it still holds gets `answer`: the kernel carries the rest, or nobody does. */
export function leave(lane: Lane, flow: TcpFlow, answer: number): void {
  if (flow.gone) return;
  flow.gone = true;
  if (flow.resolving !== 0) stopWaiting(lane, flow);
  const use = lane.use.of(flow.workloadId);
  for (const held of flow.held) lane.answer(held.id, answer);
  use.held -= flow.held.length;
  flow.held.length = 0;
  use.looking -= flow.httpHanded ? 0 : 1;
  use.bytes -= flow.charged;
  flow.charged = 0;
  flow.client.release();
  if (flow.boundary >= 0) lane.boundaries?.release(flow.boundary, flow.workloadId);
  lane.deadlines.clear(flow);
  lane.flows.remove(flow);
  if (flow.untracked) lane.untracked.forget(flow);
  if (answer === ANSWER.allow) lane.latelyAllowed.add(flow);
  lane.use.settle(flow.workloadId);
}

/** False: the workload holds too many packets already; the caller drops this one, and TCP sends it again. */
export function hold(lane: Lane, flow: TcpFlow, held: Held): boolean {
  if (!lane.use.mayHold(flow.workloadId)) {
    lane.counters.limitReached++;
    return false;
  }
  lane.use.of(flow.workloadId).held++;
  lane.counters.held++;
  flow.held.push(held);
  return true;
}

/** Takes a packet out of what is held, because it gets another verdict than the rest. */
export function takeHeld(lane: Lane, flow: TcpFlow, index: number): Held {
  const held = flow.held[index]!;
  flow.held.splice(index, 1);
  lane.use.of(flow.workloadId).held--;
  return held;
}

/**
 * Lets held client packets go whose bytes may all go. A server answers a TLS hello with bytes, which acknowledge it; whatever
 * else was inspected is acknowledged by bare segments too, and those have to be seen.
 */
export function flush(lane: Lane, flow: TcpFlow): void {
  if (flow.httpHanded) noteBoundary(lane, flow);
  const until = Math.min(flow.releaseEnd, flow.client.next);
  const answered = flow.watching || flow.httpHanded || (flow.phase === "allowed" && flow.hello !== "none");
  let kept = 0;
  for (const held of flow.held) {
    if (held.fromServer || held.end > until) {
      flow.held[kept++] = held;
      continue;
    }
    flow.sent = Math.max(flow.sent, held.end + (held.fin ? 1 : 0));
    lane.answer(held.id, answered ? ANSWER.pass : ANSWER.confirm);
  }
  lane.use.of(flow.workloadId).held -= flow.held.length - kept;
  flow.held.length = kept;
}

/**
 * Reassembly memory is charged to the workload by what the stream really holds. False: the bound is reached.
 * `coming` bytes are about to be added.
 */
export function charge(lane: Lane, flow: TcpFlow, coming: number): boolean {
  const use = lane.use.of(flow.workloadId);
  const memory = flow.client.memory;
  use.bytes += memory - flow.charged;
  flow.charged = memory;
  return use.bytes + coming <= lane.use.limits.reassemblyBytes && memory <= 4 * FLOW_BYTES;
}

/**
 * The next moment at which something must be done for the flow without a packet. What waits, waits for a bounded time in
 * every phase: a gap that nobody fills, half a question or half a head would hold packets for ever.
 */
export function schedule(lane: Lane, flow: TcpFlow, now: number): void {
  if (flow.phase !== "looking" && flow.phase !== "opening") {
    const headOpen = flow.phase === "http" && flow.body === null && flow.client.unread > 0;
    const waits = headOpen || flow.held.length > 0;
    flow.factsUntil = waits ? Math.min(flow.factsUntil, now + lane.use.limits.factsTimeout) : Infinity;
  }
  const waitUntil = flow.resolving !== 0 ? flow.resolveUntil : flow.stallAt;
  lane.deadlines.set(flow, Math.min(waitUntil, flow.factsUntil, flow.forgetAt));
}

/** A flow that was only watched ends being watched: its record is written, the kernel carries it. */
export function stopWatching(lane: Lane, flow: TcpFlow, packetId: number | null, now: number): void {
  const decision = flow.decision!;
  record(lane, flow, "flow", decision, finalAudit(lane, flow), "allowed", now);
  if (packetId !== null) lane.answer(packetId, ANSWER.allow);
  leave(lane, flow, ANSWER.allow);
}
