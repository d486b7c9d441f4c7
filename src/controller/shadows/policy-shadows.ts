import { type Policy, policyRef, type Rule } from "../../model/policy.ts";
import { shown } from "../../policy/check.ts";
import { Effort, findShadows, ruleCovers } from "../../policy/shadowing.ts";
import { comparePolicies } from "../../program/order.ts";
import { type Groups, mayMeet } from "./meeting.ts";
import { anchorsOf, mayShare, soughtAnchors, subjectCovers } from "./subjects.ts";

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
    const index = new Index(policies);
    const all = new Effort(this.#limits.ofAll);
    const found = new Map<Policy, readonly PolicyShadow[]>();
    for (const policy of index.ordered) {
      const shadows = this.#look(policy, index, systemNamespaces, all);
      if (shadows.length > 0) found.set(policy, shadows);
    }
    return found;
  }

  #look(policy: Policy, index: Index, systemNamespaces: readonly string[], all: Effort): readonly PolicyShadow[] {
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

const NOBODY: readonly Policy[] = [];

/** Policies in the order in which they are walked, and by what their subjects ask for. */
class Index {
  readonly ordered: readonly Policy[];
  readonly #place: ReadonlyMap<Policy, number>;
  readonly #anchored = new Map<string, Policy[]>();
  readonly #general: Policy[] = [];
  readonly #passing: Policy[];

  constructor(policies: readonly Policy[]) {
    this.ordered = policies.toSorted(comparePolicies);
    this.#place = new Map(this.ordered.map((policy, at) => [policy, at]));
    this.#passing = this.ordered.filter(({ rules }) => rules.some(({ action }) => action === "Pass"));
    for (const policy of this.ordered) {
      if (policy.rules.length === 0) continue;
      const anchors = anchorsOf(policy);
      if (anchors.length === 0) this.#general.push(policy);
      for (const anchor of anchors) {
        const list = this.#anchored.get(anchor);
        if (list === undefined) this.#anchored.set(anchor, [policy]);
        else list.push(policy);
      }
    }
  }

  /** The first `most` of those before it that cover it; `more`: not all were asked. */
  before(policy: Policy, most: number, covers: (other: Policy) => boolean): { candidates: Policy[]; more: boolean } {
    const own = this.#place.get(policy)!;
    const lists = [this.#general, ...soughtAnchors(policy).map((anchor) => this.#anchored.get(anchor) ?? [])];
    const found = new Set<Policy>();
    let more = false;
    for (const list of lists) {
      let asked = 0;
      for (const other of list) {
        if (this.#place.get(other)! >= own) break;
        if (asked++ >= most) {
          more = true;
          break;
        }
        const counts = other.mode === "Enforce" || policy.mode === "Audit";
        if (counts && covers(other)) found.add(other);
      }
    }
    const candidates = [...found].sort((a, b) => this.#place.get(a)! - this.#place.get(b)!);
    return { candidates, more };
  }

  /** Policies of earlier tiers that pass something on, perhaps of its pods; null: too many to be looked at. */
  passing(policy: Policy, most: number): readonly Policy[] | null {
    const own = this.#place.get(policy)!;
    const found: Policy[] = [];
    for (const other of this.#passing) {
      if (this.#place.get(other)! >= own) break;
      const counts = other.mode === "Enforce" || policy.mode === "Audit";
      if (other.tier === policy.tier || !counts || !mayShare(other, policy)) continue;
      if (found.push(other) > most) return null;
    }
    return found;
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
