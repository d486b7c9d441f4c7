import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { unboundFacts } from "../model/unbound-facts.ts";
import { ACTION, ENTRY, EXTENT, GROUP, NONE, RULE, TLS, type Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import { withoutRule } from "./default-reason.ts";
import { ANSWER, NO_RULE, type RuleAnswers, type WalkSink, walkRules } from "./walk.ts";

const UNKNOWN_WORKLOAD = withoutRule("Deny", "UnknownWorkload");
const NOT_ISOLATED = withoutRule("Allow", "NotIsolated");
const CLUSTER_DOMAIN = withoutRule("Allow", "ClusterDomain");
const NOWHERE = { w0: 0, w1: 0, w2: 0, w3: 0 };
const DEFAULT_DENY = withoutRule("Deny", "DefaultDeny");

/**
 * Decides a DNS question by its name (canonical, as parsed; "" is the root): does any flow that the name could lead to
 * have a rule by name that lets it out? Address and port are unknown, so Deny, Pass and Next that only may match are
 * followed both ways.
 *
 * 1. A class that this epoch does not know: Deny, UnknownWorkload.
 * 2. The walk isolates nobody, and standard policies let the class ask a resolver: Allow, NotIsolated.
 * 3. The cluster domain and every name under it: Allow, ClusterDomain.
 * 4. Standard policies let the class ask no resolver, and no Accept with `domainNames` can decide: Deny, by the Deny that stops it.
 * 5. The walk isolates nobody: Allow, by that Accept.
 * 6. An Allow with `domains` (its own or its group's) that can still decide: Allow, that rule.
 * 7. A Deny that certainly matches: Deny, that rule.
 * 8. Deny, DefaultDeny. Rules on addresses and rules without `domains` open no name.
 */
export function gateName(program: Program, cls: number, name: string, walk: Walk = "enforce"): Decision {
  return gateBeforeRules(program, cls, name, walk) ?? gateByRules(program, cls, name, walk, null);
}

/** Steps 1 to 3; null: the rules decide. */
export function gateBeforeRules(program: Program, cls: number, name: string, walk: Walk): Decision | null {
  if (cls < 0) return UNKNOWN_WORKLOAD;
  if (!program.gated(cls, walk)) return NOT_ISOLATED;
  const domain = program.clusterDomain;
  return name === domain || name.endsWith(`.${domain}`) ? CLUSTER_DOMAIN : null;
}

/** Steps 4 to 8. */
export function gateByRules(program: Program, cls: number, name: string, walk: Walk, sink: WalkSink | null): Decision {
  const ends = walkRules(program, cls, walk, new NameAnswers(program, cls, name), sink);
  const of = (rule: number) => program.ruleDecision(rule, false);
  if (program.mute(cls) && ends.accept === NO_RULE) {
    const stops = ends.decided === NO_RULE ? ends.deny : ends.decided;
    return stops === NO_RULE ? DEFAULT_DENY : of(stops);
  }
  if (!program.isolated(cls, walk)) return of(ends.accept);
  if (ends.allow !== NO_RULE) return of(ends.allow);
  // What the standard policies deny where they accept nothing is not what is in its way.
  if (ends.accept !== NO_RULE && program.isStandard(ends.decided)) return DEFAULT_DENY;
  return ends.decided === NO_RULE ? DEFAULT_DENY : of(ends.decided);
}

/** The answers of rules when only a name is known. What opens names never says yes for certain: what follows it stays in reach. */
class NameAnswers implements RuleAnswers {
  private readonly program: Program;
  /** An Accept opens names as an Allow does. */
  private readonly mute: boolean;

  constructor(program: Program, cls: number, name: string) {
    this.program = program;
    this.mute = program.mute(cls);
    program.marks.begin(cls, onlyName(name));
  }

  answer(rule: number): number {
    const { rules } = this.program.rules;
    const row = rule * RULE.stride;
    const action = rules[row + RULE.action]!;
    const allow = action === ACTION.allow || (action === ACTION.accept && this.mute);
    const count = rules[row + RULE.entryCount]!;
    if (count === NONE) return allow ? ANSWER.no : ANSWER.yes;
    const first = rules[row + RULE.entries]!;
    let best: number = ANSWER.no;
    for (let entry = first; entry < first + count; entry++) {
      const answer = allow ? this.opens(entry) : this.matches(entry, action === ACTION.deny);
      if (answer > best) best = answer;
    }
    return best;
  }

  /** An Allow entry: it can decide for the name if it holds it by name. */
  private opens(entry: number): number {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    const own = entries[row + ENTRY.names]!;
    const byOwn = own === NONE || this.holds(own);
    const named = this.holds(own) || this.holds(entries[row + ENTRY.groupNames]!);
    return named && byOwn && this.group(row, false) !== ANSWER.no ? ANSWER.notYet : ANSWER.no;
  }

  /** An entry of a Deny, Pass or Next: yes only if no address, port or payload could make it fail. */
  private matches(entry: number, deny: boolean): number {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    const names = entries[row + ENTRY.names]!;
    const group = this.group(row, deny);
    if (this.nowhere(entries[row + ENTRY.cidrs]!)) return ANSWER.no;
    if (group === ANSWER.no || (names !== NONE && !this.holds(names))) return ANSWER.no;
    const looksFurther =
      entries[row + ENTRY.portCount] !== NONE ||
      entries[row + ENTRY.http] !== NONE ||
      entries[row + ENTRY.tls] !== TLS.none;
    return looksFurther || !this.everywhere(entries[row + ENTRY.cidrs]!) ? ANSWER.notYet : group;
  }

  /** A group holds by name, or may hold by address. */
  private group(row: number, deny: boolean): number {
    const { entries } = this.program.rules;
    const state = entries[row + ENTRY.groupState]!;
    if (state === GROUP.none) return ANSWER.yes;
    if (state === GROUP.missing) return deny ? ANSWER.yes : ANSWER.no;
    if (this.holds(entries[row + ENTRY.groupNames]!)) return ANSWER.yes;
    const cidrs = entries[row + ENTRY.groupCidrs]!;
    if (cidrs === NONE) return ANSWER.no;
    return this.everywhere(cidrs) ? ANSWER.yes : ANSWER.notYet;
  }

  private holds(set: number): boolean {
    return set !== NONE && this.program.marks.nameMarks(set) !== 0;
  }

  private everywhere(set: number): boolean {
    return set === NONE || this.program.rules.extents[set] === EXTENT.everywhere;
  }

  /** Only pods inside the cluster are meant. */
  private nowhere(set: number): boolean {
    return set !== NONE && this.program.rules.extents[set] === EXTENT.nowhere;
  }
}

function onlyName(name: string): Facts {
  return { ...unboundFacts(NOWHERE, 0, 0), names: [name], namesFinal: true };
}
