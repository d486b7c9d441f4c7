import type { Policy } from "../../model/policy.ts";
import { comparePolicies } from "../../program/order.ts";
import { anchorsOf, mayShare, soughtAnchors } from "./subjects.ts";

/** By what policies are found and find others, worked out once. */
export class Anchors {
  readonly #known = new WeakMap<Policy, { readonly own: readonly string[]; readonly sought: readonly string[] }>();

  of(policy: Policy): { readonly own: readonly string[]; readonly sought: readonly string[] } {
    let found = this.#known.get(policy);
    if (found === undefined) {
      found = { own: anchorsOf(policy), sought: soughtAnchors(policy) };
      this.#known.set(policy, found);
    }
    return found;
  }
}

/** Policies in the order in which they are walked, and by what their subjects ask for. */
export class PolicyIndex {
  readonly ordered: readonly Policy[];
  readonly #place: ReadonlyMap<Policy, number>;
  readonly #anchored = new Map<string, Policy[]>();
  readonly #anchors: Anchors;
  readonly #general: Policy[] = [];
  readonly #passing: Policy[];

  /** `before`: the order of before, since most policies stay. */
  constructor(policies: readonly Policy[], before: readonly Policy[], anchors: Anchors) {
    this.#anchors = anchors;
    const there = new Set(policies);
    const stayed = before.filter((policy) => there.delete(policy));
    this.ordered = [...stayed, ...there].sort(comparePolicies);
    this.#place = new Map(this.ordered.map((policy, at) => [policy, at]));
    this.#passing = this.ordered.filter(({ rules }) => rules.some(({ action }) => action === "Pass"));
    for (const policy of this.ordered) {
      if (policy.rules.length === 0) continue;
      const { own } = anchors.of(policy);
      if (own.length === 0) this.#general.push(policy);
      for (const anchor of own) {
        const list = this.#anchored.get(anchor);
        if (list === undefined) this.#anchored.set(anchor, [policy]);
        else list.push(policy);
      }
    }
  }

  /** The first `most` of those before it that cover it; `more`: not all were asked. */
  before(policy: Policy, most: number, covers: (other: Policy) => boolean): { candidates: Policy[]; more: boolean } {
    const own = this.#place.get(policy)!;
    const lists = [this.#general, ...this.#anchors.of(policy).sought.map((anchor) => this.#anchored.get(anchor) ?? [])];
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
