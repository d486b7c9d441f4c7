import { bindingMayCome } from "../decide/names-to-resolve.ts";
import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import type { Decision, Reason } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { unboundFacts } from "../model/unbound-facts.ts";
import type { Address } from "../net/address.ts";
import type { Lane } from "./lane.ts";
import { RESOLVE_WAIT } from "./limits.ts";

export type MutableFacts = { -readonly [K in keyof Facts]: Facts[K] };

/** What every flow has that is decided, TCP or not. */
export interface Judged {
  readonly id: number;
  readonly workloadId: number;
  readonly tuple: FlowTuple;
  cls: number;
  facts: MutableFacts;
  /** Everything that the flow itself can reveal is in the facts; only a binding may still come. */
  classified: boolean;
  /** The bytes could not be read in one way only. */
  malformed: boolean;
  /** Request id while the agent's resolver is asked, else 0. */
  resolving: number;
  resolveUntil: number;
  /** Names that were resolved for this flow and did not decide it. */
  resolved: string[];
}

/** What a decision is made on. */
export type Known = Pick<Judged, "cls" | "facts">;

/** Facts at the first packet (DESIGN §2). ICMPv6 is given as 1. */
export function firstFacts(
  lane: Lane,
  workloadId: number,
  address: Address,
  port: number,
  protocol: number,
  now: number,
): MutableFacts {
  const bound = lane.names.lookup(workloadId, address, now);
  const facts: MutableFacts = unboundFacts(address, port, protocol === 58 ? 1 : protocol);
  facts.names = bound.names;
  facts.aliases = bound.aliases;
  return facts;
}

/**
 * Decides a flow on what is known of it. Null: not yet; then either `flow.resolving` is set (its packets wait for the
 * agent's resolver), or the flow has more to reveal. Once it is classified and no binding can come, it is decided.
 */
export function judge(lane: Lane, flow: Judged, now: number): Decision | null {
  const facts = flow.facts;
  refreshNames(lane, flow, now);
  const early = lane.memo.decide(lane.program, flow.cls, facts, "enforce");
  if (early !== null) return early;
  if (!facts.namesFinal && askForNames(lane, flow, now)) return null;
  if (!facts.namesFinal && flow.resolved.length > 0) {
    // Names that were resolved and lead elsewhere: if no other could bind, not even the handshake goes to this address.
    facts.namesFinal = !bindingMayCome(lane.program, flow.cls, facts, flow.resolved);
    const late = facts.namesFinal ? lane.memo.decide(lane.program, flow.cls, facts, "enforce") : null;
    if (late !== null) return late;
  }
  if (!flow.classified) return null;
  facts.namesFinal = true;
  facts.ended = true;
  return lane.memo.decide(lane.program, flow.cls, facts, "enforce");
}

/** What Audit policies would make of it. Null: the same, or not known yet (`auditKnown` tells which). */
export function audit(lane: Lane, flow: Known): Decision | null {
  if (!lane.program.audited(flow.cls)) return null;
  return lane.memo.decide(lane.program, flow.cls, flow.facts, "all");
}

/** The outcome of the walk with Audit policies on facts that will not grow any more. */
export function finalAudit(lane: Lane, flow: Judged): Decision | null {
  if (!lane.program.audited(flow.cls)) return null;
  const outcome = audit(lane, flow);
  if (outcome !== null) return outcome;
  return lane.memo.decide(lane.program, flow.cls, { ...flow.facts, namesFinal: true, ended: true }, "all");
}

export function auditKnown(lane: Lane, flow: Known): boolean {
  return !lane.program.audited(flow.cls) || audit(lane, flow) !== null;
}

/** A name that was resolved in the meantime binds; names are not taken back while a flow is being decided. */
function refreshNames(lane: Lane, flow: Judged, now: number): void {
  if (flow.facts.namesFinal) return;
  const bound = lane.names.lookup(flow.workloadId, flow.facts.address, now);
  flow.facts.names = bound.names;
  flow.facts.aliases = bound.aliases;
}

/** True: the flow waits for the resolver. */
function askForNames(lane: Lane, flow: Judged, now: number): boolean {
  if (flow.resolving !== 0) return true;
  const wanted: string[] = [];
  for (const name of lane.memo.namesToResolve(lane.program, flow.cls, flow.facts)) {
    if (flow.resolved.includes(name)) continue;
    // Asked for another flow a moment ago: what it leads to has been learned.
    if (lane.resolutions.askedLately(flow.workloadId, name, now)) flow.resolved.push(name);
    else wanted.push(name);
  }
  if (wanted.length === 0) return false;
  flow.resolveUntil = now + RESOLVE_WAIT;
  if (lane.resolutions.join(flow, wanted)) return true;
  if (!lane.use.mayResolve(flow.workloadId)) {
    lane.counters.limitReached++;
    return false;
  }
  lane.use.of(flow.workloadId).resolving++;
  lane.counters.resolutions++;
  const id = lane.resolutions.begin(flow, wanted);
  lane.commands.resolve({ id, workloadId: flow.workloadId, names: wanted });
  return true;
}

/** The resolver was too slow for this flow: it is decided on the bindings that there are. */
export function stopWaiting(lane: Lane, flow: Judged): void {
  if (lane.resolutions.giveUp(flow.resolving)) lane.use.of(flow.workloadId).resolving--;
  flow.resolving = 0;
  flow.resolveUntil = Infinity;
  flow.facts.namesFinal = true;
}

export function record(
  lane: Lane,
  flow: Judged,
  kind: FlowEvent["kind"],
  decision: Decision,
  auditOutcome: Decision | null,
  state: FlowEvent["state"],
  now: number,
  remember = state === "allowed" || state === "http",
): void {
  const facts = flow.facts;
  lane.commands.record({
    kind,
    flowId: flow.id,
    time: now,
    workloadId: flow.workloadId,
    tuple: flow.tuple,
    application: facts.application,
    name: facts.evidence ?? facts.names[0] ?? null,
    method: facts.method ?? null,
    path: facts.path ?? null,
    decision,
    audit: auditOutcome !== null && !sameDecision(auditOutcome, decision) ? auditOutcome : null,
    facts: remember ? { ...facts } : null,
    waited: lane.waited,
    state,
  });
}

/** A denial that no rule made, with the reason that a reader can act on. */
export function deny(reason: Reason): Decision {
  return { action: "Deny", policy: null, rule: null, reason };
}

function sameDecision(a: Decision, b: Decision): boolean {
  return a.action === b.action && a.policy === b.policy && a.rule === b.rule && a.reason === b.reason;
}
