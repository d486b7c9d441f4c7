import { NEXT_POLICY, OWN_TIERS } from "../program/candidates.ts";
import { ACTION, CLASS, FIRST_OWN_TIER, NONE, POLICY, POLICY_FLAG, RULE, type Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";

/** What a rule says of partial facts, in the order in which "all of" takes the least and "any of" the greatest. */
export const ANSWER = {
  no: 0,
  notYet: 1,
  /** Yes, because the flow hides its name. */
  hidden: 2,
  yes: 3,
} as const;

export interface RuleAnswers {
  /** One of ANSWER. */
  answer(rule: number): number;
}

/** Told of every rule that the walk asks. `certain`: reached whatever the unknown facts turn out to be. */
export interface WalkSink {
  asked(rule: number, answer: number, certain: boolean): void;
}

/** No rule, or no outcome. */
export const NO_RULE = -1;

/** Where a walk can end. Rule numbers, or NO_RULE. */
export interface Ends {
  /** First Allow and first Deny that can decide. */
  allow: number;
  deny: number;
  /** First Accept that can be reached, and the one that is if nothing unknown matches. */
  accept: number;
  accepted: number;
  /** The walk can run past the last rule. */
  past: boolean;
  /** Where it ends if nothing unknown matches: a rule, or NO_RULE for past the last one; and the answer of that rule. */
  decided: number;
  decidedAnswer: number;
}

const HERE = 0;
const AFTER_POLICY = 1;
const AFTER_TIER = 2;
const AFTER_STANDARD = 3;
const ENDED = 4;

function noEnds(): Ends {
  return {
    allow: NO_RULE,
    deny: NO_RULE,
    accept: NO_RULE,
    accepted: NO_RULE,
    past: false,
    decided: NO_RULE,
    decidedAnswer: ANSWER.no,
  };
}

/**
 * Walks the rules of a class in order. A `notYet` is followed both ways: the rule matched, or it did not. Next, Pass and Accept only
 * skip forward, so the places that can be reached are four flags (here, after this policy, this tier, the standard policies) and the
 * walk is one pass. It stops when an Allow and a Deny are both within reach, unless a sink wants the rest.
 */
export function walkRules(
  program: Program,
  cls: number,
  walk: Walk,
  answers: RuleAnswers,
  sink: WalkSink | null,
): Ends {
  const ends = noEnds();
  const { classes, classLists } = program.data;
  const { policies } = program.rules;
  const start = classes[cls * CLASS.stride + CLASS.policies]!;
  const end = start + classes[cls * CLASS.stride + CLASS.policyCount]!;
  const place = new Place();
  let tier: number = NONE;
  for (let i = start; i < end; i++) {
    const policy = classLists[i]! * POLICY.stride;
    if (walk === "enforce" && (policies[policy + POLICY.flags]! & POLICY_FLAG.audit) !== 0) continue;
    const next = policies[policy + POLICY.tier]!;
    place.enter(next !== tier, next >= FIRST_OWN_TIER);
    tier = next;
    if (!place.here) continue;
    const first = policies[policy + POLICY.rules]!;
    const last = first + policies[policy + POLICY.ruleCount]!;
    for (let rule = first; rule < last && place.here; rule++) {
      step(program, rule, answers, sink, place, ends);
      if (sink === null && ends.allow !== NO_RULE && ends.deny !== NO_RULE) return ends;
    }
    if (place.nowhere()) return ends;
  }
  ends.past = !place.nowhere();
  return ends;
}

/**
 * The same walk without a sink, past the rules that no port of the flow can meet (program/candidates): they answer "no", and
 * a policy of which nothing is left changes nothing but the tier, which the next one tells.
 */
export function walkCandidates(program: Program, candidates: Uint32Array, answers: RuleAnswers): Ends {
  const ends = noEnds();
  const place = new Place();
  for (let i = 0; i < candidates.length; i++) {
    const rule = candidates[i]!;
    if (rule >= OWN_TIERS) {
      if (place.nowhere()) return ends;
      place.enter(rule !== NEXT_POLICY, rule === OWN_TIERS);
    } else if (place.here) {
      step(program, rule, answers, null, place, ends);
      if (ends.allow !== NO_RULE && ends.deny !== NO_RULE) return ends;
    }
  }
  ends.past = !place.nowhere();
  return ends;
}

/** Where the walk can be (`here`, `afterPolicy`, …), and where it is if nothing unknown matches (`certain`). */
class Place {
  here = true;
  afterPolicy = false;
  afterTier = false;
  afterStandard = false;
  certain: number = HERE;

  /** The next policy begins, perhaps a new tier with it; `own`: it is none of the standard policies. */
  enter(newTier: boolean, own: boolean): void {
    this.here ||= this.afterPolicy || (newTier && this.afterTier) || (own && this.afterStandard);
    this.afterPolicy = false;
    const { certain } = this;
    const enters =
      certain === AFTER_POLICY || (newTier && certain === AFTER_TIER) || (own && certain === AFTER_STANDARD);
    if (enters) this.certain = HERE;
    if (newTier) this.afterTier = false;
    if (own) this.afterStandard = false;
  }

  nowhere(): boolean {
    return !this.here && !this.afterPolicy && !this.afterTier && !this.afterStandard;
  }
}

function step(
  program: Program,
  rule: number,
  answers: RuleAnswers,
  sink: WalkSink | null,
  place: Place,
  ends: Ends,
): void {
  const answer = answers.answer(rule);
  if (sink !== null) sink.asked(rule, answer, place.certain === HERE);
  if (answer === ANSWER.no) return;
  const action = program.rules.rules[rule * RULE.stride + RULE.action]!;
  const sure = answer !== ANSWER.notYet;
  const leaves = sure && place.certain === HERE;
  if (action === ACTION.allow || action === ACTION.deny) {
    if (action === ACTION.allow && ends.allow === NO_RULE) ends.allow = rule;
    if (action === ACTION.deny && ends.deny === NO_RULE) ends.deny = rule;
    if (leaves) {
      place.certain = ENDED;
      ends.decided = rule;
      ends.decidedAnswer = answer;
    }
  } else if (action === ACTION.next) {
    place.afterPolicy = true;
    if (leaves) place.certain = AFTER_POLICY;
  } else if (action === ACTION.pass) {
    place.afterTier = true;
    if (leaves) place.certain = AFTER_TIER;
  } else {
    place.afterStandard = true;
    if (ends.accept === NO_RULE) ends.accept = rule;
    if (leaves) {
      place.certain = AFTER_STANDARD;
      ends.accepted = rule;
    }
  }
  if (sure) place.here = false;
}
