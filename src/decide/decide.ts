import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { TCP, UDP } from "../net/ports.ts";
import type { Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import { FlowAnswers } from "./answers.ts";
import { defaultDeny, withoutRule } from "./default-reason.ts";
import { ANSWER, NO_RULE, type WalkSink, walkCandidates, walkRules } from "./walk.ts";

const UNKNOWN_WORKLOAD = withoutRule("Deny", "UnknownWorkload");
const TRUSTED_RESOLVER = withoutRule("Allow", "TrustedResolver");
const INSIDE = withoutRule("Allow", "Inside");
const NOT_ISOLATED = withoutRule("Allow", "NotIsolated");
const BYPASSED = withoutRule("Allow", "Bypassed");

/**
 * Decides a flow on what is known of it; null: not yet, more facts are needed. Never null once `facts.ended`.
 * A decision on partial facts has the action of the decision on every completion of them.
 *
 * 1. A class that this epoch does not know: Deny, UnknownWorkload.
 * 2. Port 53 (TCP, UDP) of a trusted resolver: Allow, TrustedResolver; each question is judged by `gateName`.
 * 3. Inside the cluster, and not port 53: Allow, Inside.
 * 4. Enforcement, and no enforcing policy selects the class: Allow, NotIsolated; Bypassed where one would, and is set aside for a while.
 * 5. The first rule that matches: its action. An Accept of a standard policy goes on with Sallyport's own policies.
 * 6. No rule, and a policy of the walk with `defaultDeny: true` selects the class: Deny; DefaultDeny, or what was missing.
 * 7. An Accept: Allow, by that rule.
 * 8. Otherwise: Allow, NotIsolated.
 */
export function decide(program: Program, cls: number, facts: Facts, walk: Walk): Decision | null {
  return decideBeforeRules(program, cls, facts, walk) ?? decideByRules(program, cls, facts, walk, null);
}

/** Steps 1 to 4; null: the rules decide. */
export function decideBeforeRules(program: Program, cls: number, facts: Facts, walk: Walk): Decision | null {
  if (cls < 0) return UNKNOWN_WORKLOAD;
  const { address, port, protocol } = facts;
  const dns = port === 53 && (protocol === TCP || protocol === UDP);
  if (dns && program.isResolver(address)) return TRUSTED_RESOLVER;
  if (!dns && program.isInside(address, protocol, port)) return INSIDE;
  if (walk !== "enforce" || program.selected(cls)) return null;
  return program.bypassed(cls) ? BYPASSED : NOT_ISOLATED;
}

/** Steps 5 to 8. A sink hears of every rule asked and makes the walk go on after the decision is open. */
export function decideByRules(
  program: Program,
  cls: number,
  facts: Facts,
  walk: Walk,
  sink: ((answers: FlowAnswers) => WalkSink) | null,
): Decision | null {
  const answers = new FlowAnswers(program, cls, facts);
  const ends =
    sink === null
      ? walkCandidates(program, program.candidates.of(cls, walk, facts.protocol, facts.port), answers)
      : walkRules(program, cls, walk, answers, sink(answers));
  const isolated = program.isolated(cls, walk);
  const canAllow = ends.allow !== NO_RULE || (ends.past && !isolated);
  const canDeny = ends.deny !== NO_RULE || (ends.past && isolated);
  if (canAllow && canDeny) return null;
  if (ends.decided !== NO_RULE) return program.ruleDecision(ends.decided, ends.decidedAnswer === ANSWER.hidden);
  if (isolated) return defaultDeny(program, cls, walk, answers);
  return ends.accepted === NO_RULE ? NOT_ISOLATED : program.ruleDecision(ends.accepted, false);
}
