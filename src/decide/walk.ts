import { NEXT_POLICY, NEXT_TIER } from "../program/candidates.ts";
import { ACTION, CLASS, NONE, POLICY, POLICY_FLAG, RULE, type Walk } from "../program/layout.ts";
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
  /** The walk can run past the last rule. */
  past: boolean;
  /** Where it ends if nothing unknown matches: a rule, or NO_RULE for past the last one; and the answer of that rule. */
  decided: number;
  decidedAnswer: number;
}

const HERE = 0;
const AFTER_POLICY = 1;
const AFTER_TIER = 2;
const ENDED = 3;

/**
 * Walks the rules of a class in order. A `notYet` is followed both ways: the rule matched, or it did not. Next and
 * Pass only skip forward, so the places that can be reached are three flags (here, after this policy, after this tier)
 * and the walk is one pass. It stops when an Allow and a Deny are both within reach, unless a sink wants the rest.
 */
export function walkRules(
  program: Program,
  cls: number,
  walk: Walk,
  answers: RuleAnswers,
  sink: WalkSink | null,
): Ends {
  const ends: Ends = { allow: NO_RULE, deny: NO_RULE, past: false, decided: NO_RULE, decidedAnswer: ANSWER.no };
  const { classes, classLists } = program.data;
  const { policies } = program.rules;
  const start = classes[cls * CLASS.stride + CLASS.policies]!;
  const end = start + classes[cls * CLASS.stride + CLASS.policyCount]!;
  const place = new Place();
  let tier: number = NONE;
  for (let i = start; i < end; i++) {
    const policy = classLists[i]! * POLICY.stride;
    if (walk === "enforce" && (policies[policy + POLICY.flags]! & POLICY_FLAG.audit) !== 0) continue;
    place.enter(policies[policy + POLICY.tier] !== tier);
    tier = policies[policy + POLICY.tier]!;
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
  const ends: Ends = { allow: NO_RULE, deny: NO_RULE, past: false, decided: NO_RULE, decidedAnswer: ANSWER.no };
  const place = new Place();
  for (let i = 0; i < candidates.length; i++) {
    const rule = candidates[i]!;
    if (rule === NEXT_POLICY || rule === NEXT_TIER) {
      if (place.nowhere()) return ends;
      place.enter(rule === NEXT_TIER);
    } else if (place.here) {
      step(program, rule, answers, null, place, ends);
      if (ends.allow !== NO_RULE && ends.deny !== NO_RULE) return ends;
    }
  }
  ends.past = !place.nowhere();
  return ends;
}

/** Where the walk can be (`here`, `afterPolicy`, `afterTier`), and where it is if nothing unknown matches (`certain`). */
class Place {
  here = true;
  afterPolicy = false;
  afterTier = false;
  certain: number = HERE;

  /** The next policy begins, perhaps a new tier with it. */
  enter(newTier: boolean): void {
    this.here ||= this.afterPolicy || (newTier && this.afterTier);
    this.afterPolicy = false;
    if (this.certain === AFTER_POLICY || (newTier && this.certain === AFTER_TIER)) this.certain = HERE;
    if (newTier) this.afterTier = false;
  }

  nowhere(): boolean {
    return !this.here && !this.afterPolicy && !this.afterTier;
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
  } else {
    place.afterTier = true;
    if (leaves) place.certain = AFTER_TIER;
  }
  if (sure) place.here = false;
}
