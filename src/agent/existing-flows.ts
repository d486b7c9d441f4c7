import { decide } from "../decide/decide.ts";
import type { FlowTuple } from "../flow/event.ts";
import type { LiveFlow } from "../flow/live-flows.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { inPlace, type MarkLayout, stateOf } from "../kernel/marks.ts";
import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { unboundFacts } from "../model/unbound-facts.ts";
import { STATE } from "../model/verdict.ts";
import type { Address } from "../net/address.ts";
import { ICMP, ICMPV6, TCP, UDP } from "../net/ports.ts";
import type { Program } from "../program/program.ts";
import { REMEMBERED, redecide } from "./state.ts";
import { flowOf } from "./translation.ts";
import type { Turns } from "./turns.ts";

const DNS_PORT = 53;
const NOBODY = -1;
/** Of a flow that somebody opened whom policies hold; `inbound` is what the node opens towards pods. */
const FOR_PODS: ReadonlySet<number> = new Set(
  Object.values(STATE).filter((state) => state !== STATE.none && state !== STATE.inbound),
);

export interface ExistingFlow {
  readonly flow: FlowTuple;
  readonly workloadId: number;
  readonly facts: Facts;
  readonly decision: Decision;
  /** What an earlier agent noted of it; null: nothing is known but what conntrack tells. */
  readonly memory: LiveFlow | null;
}

/** Finds what an earlier agent noted of an allowed flow whose entry began at `start` (0: unknown). */
export type Recall = (flow: FlowTuple, start: number) => LiveFlow | null;

export interface ExistingFlows {
  /** Flows that stay, to be decided again at each change. */
  readonly kept: ExistingFlow[];
  /** Flows to end. */
  readonly ended: ExistingFlow[];
  /** Flows opened towards pods, marked as such. */
  readonly inbound: number;
}

/**
 * What becomes of flows that pods on the node's network had open: they end where nobody remembers whose they are, or are left for another agent, which
 * may yet tell. `free`: these pods are not held any more, so nothing is remembered of theirs.
 */
export type OfNode = "end" | "leave" | "free";

/**
 * Settles the flows that conntrack knew before this agent (AgentConfig.existingFlows). Flows towards pods are not egress: they
 * are marked inbound. Of those from pods, the ones that an earlier agent allowed are decided anew on what it noted of them; where
 * it noted nothing they stay, unless what conntrack tells of them (address, port, protocol) is denied for certain. The ones that
 * nobody decided are decided on these facts alone, as if no more could come, or ended.
 */
export function settleExistingFlows(
  conntrack: Conntrack,
  program: Program,
  marks: MarkLayout,
  undecided: "Adopt" | "End",
  recall: Recall = () => null,
  ofNode: OfNode = "end",
): ExistingFlows {
  const found: ConntrackEntry[] = [];
  for (const family of ["ipv4", "ipv6"] as const) conntrack.dump(family, (entry) => found.push(entry));
  const result = { kept: [] as ExistingFlow[], ended: [] as ExistingFlow[], inbound: 0 };
  for (const entry of found) {
    const state = stateOf(marks, entry.mark);
    const row = rowOf(program, entry.original.source);
    if (row < 0 && ofNode === "free" && FOR_PODS.has(state) && isOfNode(program, entry)) {
      conntrack.setMark(entry.original, inPlace(marks, STATE.none), marks.mask);
      continue;
    }
    const allowed = state === STATE.allowed || state === STATE.proving;
    const memory = allowed ? recall(flowOf(entry), entry.start) : null;
    if (row < 0 && memory !== null) {
      const settled = again(program, flowOf(entry), memory);
      (settled.decision.action === "Deny" ? result.ended : result.kept).push(settled);
      continue;
    }
    if (row < 0 && allowed && ofNode === "end" && isOfNode(program, entry)) {
      result.ended.push(forgotten(entry));
      continue;
    }
    if (row < 0) {
      if (state !== STATE.none || rowOf(program, entry.reply.source) < 0) continue;
      if (conntrack.setMark(entry.original, inPlace(marks, STATE.inbound), marks.mask)) result.inbound++;
      continue;
    }
    if (state !== STATE.none && !allowed) continue;
    const judged = settle(program, row, entry, allowed, undecided);
    if (judged === null) continue;
    const settled = memory === null ? judged : again(program, judged.flow, memory);
    if (settled.decision.action === "Deny") result.ended.push(settled);
    else {
      if (state === STATE.none) conntrack.setMark(entry.original, inPlace(marks, STATE.allowed), marks.mask);
      result.kept.push(settled);
    }
  }
  return result;
}

/**
 * Allowed flows that found no room among those that are followed: decided on their address alone, as if no more could
 * come, for nobody remembers the name. Counts those that stay.
 */
export async function decideSurplus(
  conntrack: Conntrack,
  program: Program,
  marks: MarkLayout,
  isFollowed: (flow: FlowTuple) => boolean,
  turns: Turns,
): Promise<{ readonly ended: ExistingFlow[]; readonly kept: number }> {
  const ended: ExistingFlow[] = [];
  let kept = 0;
  const each = (entry: ConntrackEntry): void => {
    const state = stateOf(marks, entry.mark);
    if ((state !== STATE.allowed && state !== STATE.proving) || isFollowed(flowOf(entry))) return;
    const row = rowOf(program, entry.original.source);
    const ofNode = row < 0 && isOfNode(program, entry);
    const settled = ofNode ? forgotten(entry) : row < 0 ? null : settle(program, row, entry, false, "Adopt");
    if (settled === null) return;
    if (settled.decision.action === "Allow") kept++;
    else ended.push({ ...settled, decision: { ...settled.decision, reason: "NoLongerAllowed" } });
  };
  for (const family of ["ipv4", "ipv6"] as const) {
    for (const _ of conntrack.dumpInPieces(family, each)) if (turns.isOver()) await turns.next();
  }
  return { ended, kept };
}

/** Flows of an earlier agent that conntrack still knew; the others have ended meanwhile, and have no end record. */
export function countRecalled(...settlings: readonly ExistingFlows[]): number {
  const all = settlings.flatMap(({ kept, ended }) => [...kept, ...ended]);
  return new Set(all.flatMap(({ memory }) => memory ?? [])).size;
}

/** A flow that is remembered, decided anew: rules may have changed while nobody was there, and its pod may be gone. */
function again(program: Program, flow: FlowTuple, memory: LiveFlow): ExistingFlow {
  const { workloadId, facts } = memory;
  const decision = redecide(program, memory);
  if (decision !== null && decision.action === "Allow") return { flow, workloadId, facts, decision, memory };
  const { policy, rule } = decision ?? { policy: null, rule: null };
  return { flow, workloadId, facts, decision: { action: "Deny", policy, rule, reason: "NoLongerAllowed" }, memory };
}

/** The node's own flows bear no state; one that is allowed was opened by a pod on its network (docs/adr/0025-host-network-pods.md). */
function isOfNode(program: Program, { original }: ConntrackEntry): boolean {
  return program.isNode(original.source);
}

/** Of a pod on the node's network, and nobody remembers of which. */
function forgotten(entry: ConntrackEntry): ExistingFlow {
  const flow = flowOf(entry);
  const facts = factsOf(flow);
  const decision = { action: "Deny", policy: null, rule: null, reason: "NoRememberedDecision" } as const;
  return { flow, workloadId: NOBODY, facts, decision, memory: null };
}

/** Null: inside traffic, which is nobody's egress. */
function settle(
  program: Program,
  row: number,
  entry: ConntrackEntry,
  allowedBefore: boolean,
  undecided: "Adopt" | "End",
): ExistingFlow | null {
  const flow = flowOf(entry);
  const protocol = flow.protocol === ICMPV6 ? ICMP : flow.protocol;
  if (isConversation(program, entry, flow)) return null;
  if (program.isInside(flow.server, protocol, flow.serverPort) && flow.serverPort !== DNS_PORT) return null;
  const cls = program.classOfRow(row);
  const facts = { ...factsOf(flow), ended: !allowedBefore };
  const known = decide(program, cls, facts, "enforce");
  let decision = known ?? REMEMBERED;
  if (!allowedBefore && undecided === "End" && program.selected(cls)) {
    decision = { action: "Deny", policy: null, rule: null, reason: "NoRememberedDecision" };
  }
  return { flow, workloadId: program.workloadId(row), facts, decision, memory: null };
}

/**
 * With a trusted resolver: its messages are judged one by one, before and after translation. Marked allowed they would
 * pass ungated for as long as the pod keeps the port; unmarked they are asked, or reset where it is TCP in mid-flow.
 */
function isConversation(program: Program, entry: ConntrackEntry, flow: FlowTuple): boolean {
  const { destination, destinationPort, protocol } = entry.original;
  if (protocol !== TCP && protocol !== UDP) return false;
  return (
    (destinationPort === DNS_PORT && program.isResolver(destination)) ||
    (flow.serverPort === DNS_PORT && program.isResolver(flow.server))
  );
}

/** What conntrack tells of a flow: ICMPv6 as rules name it. */
export function factsOf({ server, serverPort, protocol }: FlowTuple): Facts {
  return unboundFacts(server, serverPort, protocol === ICMPV6 ? ICMP : protocol);
}

/** The row of the pod that has this address; -1: none of this node's. */
export function rowOf(program: Program, address: Address): number {
  return program.workloadAt(address.w0, address.w1, address.w2, address.w3);
}
