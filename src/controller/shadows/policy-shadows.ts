import { type Policy, policyRef, type Rule } from "../../model/policy.ts";
import { shown } from "../../policy/check.ts";
import { Effort, findShadows, ruleCovers } from "../../policy/shadowing.ts";
import { comparePolicies } from "../../program/order.ts";
import { type Groups, mayMeet } from "./meeting.ts";
import { Anchors, PolicyIndex } from "./policy-index.ts";
import { subjectCovers } from "./subjects.ts";

/** A rule that never decides, since one of a policy that is walked before decides all that it could. */
export interface PolicyShadow {
  readonly rule: string;
  /** As `Kind/namespace/name`. */
  readonly policy: string;
  readonly by: string;
  readonly action: Rule["action"];
  /** The other one does something else. */
  readonly conflict: boolean;
}

export interface ShadowLimits {
  /** Comparisons for one policy, and for all that are looked at together. */
  readonly ofOne: number;
  readonly ofAll: number;
  /** Policies before it that one is compared with. */
  readonly candidates: number;
}

/** Half a second for all; what was compared once, and has not changed, is not compared again. */
export const SHADOW_LIMITS: ShadowLimits = { ofOne: 200_000, ofAll: 10_000_000, candidates: 32 };

interface Looked {
  /** What the answer depends on. */
  readonly candidates: readonly Policy[];
  readonly passing: readonly Policy[];
  readonly groups: Groups;
  readonly shadows: readonly PolicyShadow[];
}

const NONE: readonly PolicyShadow[] = [];
const NOBODY: readonly Policy[] = [];

/**
 * Finds rules that policies walked before make useless. It says what is true of every pod, flow and moment, and not all of that: subjects, destinations and
 * rules are compared one with one.
 *
 * A rule S of a policy Q makes a rule R of a policy P useless if Q is walked before P and selects all pods of P, S covers R and ends the walk for P (an
 * Allow, a Deny; a Pass in the same tier), and no flow of R leaves before S: by a Next above S in Q, or, where P is of a later tier, by a Pass above S or
 * in a policy of that tier before Q.
 */
export class PolicyShadows {
  readonly #limits: ShadowLimits;
  #known = new WeakMap<Policy, Looked>();
  readonly #anchors = new Anchors();
  #ordered: readonly Policy[] = [];
  #groups: Groups = new Map();
  /** Policies that could not be compared with all others, when last looked at. */
  unfinished = 0;

  constructor(limits: ShadowLimits = SHADOW_LIMITS) {
    this.#limits = limits;
  }

  /** Of each policy that has such rules. */
  find(
    policies: readonly Policy[],
    groups: Groups,
    systemNamespaces: readonly string[],
  ): Map<Policy, readonly PolicyShadow[]> {
    if (!sameGroups(groups, this.#groups)) this.#groups = groups;
    this.unfinished = 0;
    const index = new PolicyIndex(policies, this.#ordered, this.#anchors);
    this.#ordered = index.ordered;
    const all = new Effort(this.#limits.ofAll);
    const found = new Map<Policy, readonly PolicyShadow[]>();
    for (const policy of index.ordered) {
      const shadows = this.#look(policy, index, systemNamespaces, all);
      if (shadows.length > 0) found.set(policy, shadows);
    }
    return found;
  }

  #look(policy: Policy, index: PolicyIndex, systemNamespaces: readonly string[], all: Effort): readonly PolicyShadow[] {
    const { candidates, more } = index.before(policy, this.#limits.candidates, (other) =>
      subjectCovers(other, policy, systemNamespaces),
    );
    if (more) this.unfinished++;
    if (candidates.length === 0) return NONE;
    const passing = index.passing(policy, this.#limits.candidates);
    const known = this.#known.get(policy);
    if (
      known !== undefined &&
      known.groups === this.#groups &&
      same(known.candidates, candidates) &&
      same(known.passing, passing ?? NOBODY)
    )
      return known.shadows;
    const effort = new Effort(Math.min(this.#limits.ofOne, all.left));
    const began = effort.left;
    const shadows = passing === null ? NONE : compare(policy, candidates, passing, this.#groups, effort);
    all.take(began - effort.left);
    if (effort.spent) this.unfinished++;
    // What ended for want of effort may be found another time.
    if (!all.spent) this.#known.set(policy, { candidates, passing: passing ?? NOBODY, groups: this.#groups, shadows });
    return shadows;
  }
}

function compare(
  policy: Policy,
  candidates: readonly Policy[],
  passing: readonly Policy[],
  groups: Groups,
  effort: Effort,
): readonly PolicyShadow[] {
  const own = findShadows(policy.rules, effort.left).by;
  return policy.rules.flatMap((rule, index) => {
    if (own[index] !== null) return [];
    for (const other of candidates) {
      const by = coveringRule(rule, policy, other, passing, groups, effort);
      if (by === null) continue;
      const { name, action } = by;
      return [{ rule: rule.name, policy: policyRef(other), by: name, action, conflict: action !== rule.action }];
    }
    return [];
  });
}

/** The rule of `other` that decides all that `rule` could; null: none does for certain. */
function coveringRule(
  rule: Rule,
  policy: Policy,
  other: Policy,
  passing: readonly Policy[],
  groups: Groups,
  effort: Effort,
): Rule | null {
  const sameTier = other.tier === policy.tier;
  const leaves = ({ action }: Rule) => action === "Next" || (action === "Pass" && !sameTier);
  for (const one of other.rules) {
    const ends = one.action === "Allow" || one.action === "Deny" || (one.action === "Pass" && sameTier);
    if (ends && ruleCovers(one, rule, effort, true)) {
      return sameTier || !isPassedBefore(rule, other, passing, groups, effort) ? one : null;
    }
    // Some of its flows may go on from here.
    if (leaves(one) && mayMeet(rule, one, groups, effort)) return null;
  }
  return null;
}

function isPassedBefore(
  rule: Rule,
  other: Policy,
  passing: readonly Policy[],
  groups: Groups,
  effort: Effort,
): boolean {
  return passing.some(
    (before) =>
      before.tier === other.tier &&
      comparePolicies(before, other) < 0 &&
      before.rules.some((one) => one.action === "Pass" && mayMeet(rule, one, groups, effort)),
  );
}

const DOES: Readonly<Record<Rule["action"], string>> = {
  Allow: "allows all of it",
  Deny: "denies all of it",
  Pass: "passes all of it on",
  Next: "leaves all of it",
  Accept: "accepts all of it",
};

/** One line of a status. */
export function shadowText({ rule, policy, by, action }: PolicyShadow): string {
  return `rule ${shown(rule)} never decides: rule ${shown(by)} of ${shown(policy)}, which comes before, ${DOES[action]}`;
}

function same(some: readonly Policy[], others: readonly Policy[]): boolean {
  return some.length === others.length && some.every((one, index) => one === others[index]);
}

function sameGroups(some: Groups, others: Groups): boolean {
  return some.size === others.size && [...some].every(([name, group]) => others.get(name) === group);
}
