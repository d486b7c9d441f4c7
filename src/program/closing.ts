import type { Policy } from "../model/policy.ts";

/** Name of the rule that denies what no NetworkPolicy of a pod accepts. */
export const CLOSING_RULE = "default-deny";
/** The same where a pod has more NetworkPolicies than are asked. */
export const CROWDED_RULE = "default-deny-too-many-rules";
/** Entries of NetworkPolicies, each with each of its ports, that one connection may have to be held against. */
const MOST_WEIGHT = 32_768;

/**
 * A pod that some NetworkPolicy selects is denied what none of them accepts: their union ends in one Deny, which stands behind the last
 * of them and is told as a rule of the first. Who may write NetworkPolicies must not slow the node down: those beyond a bound accept
 * nothing, and the Deny says so by its name.
 */
export class Closings {
  /** One object for each policy, so that it is compiled once. */
  readonly #known = new Map<string, Map<Policy, Policy>>();
  readonly #weights = new Map<Policy, number>();

  /** `policies`: those that select one class, in the order they are walked. */
  close(policies: readonly Policy[]): readonly Policy[] {
    const first = policies.findIndex(({ tier }) => tier === "NetworkPolicy");
    if (first < 0) return policies;
    const end = policies.findLastIndex(({ tier }) => tier === "NetworkPolicy") + 1;
    let weight = 0;
    let kept = first;
    while (kept < end && weight <= MOST_WEIGHT) {
      weight += this.#weight(policies[kept]!);
      if (weight <= MOST_WEIGHT) kept++;
    }
    const closing = this.#closing(policies[first]!, kept < end ? CROWDED_RULE : CLOSING_RULE);
    return [...policies.slice(0, kept), closing, ...policies.slice(end)];
  }

  #weight(policy: Policy): number {
    let weight = this.#weights.get(policy);
    if (weight === undefined) {
      weight = policy.rules.reduce((sum, { to }) => sum + entriesAndPorts(to ?? []), 1);
      this.#weights.set(policy, weight);
    }
    return weight;
  }

  #closing(policy: Policy, ruleName: string): Policy {
    let known = this.#known.get(ruleName);
    if (known === undefined) {
      known = new Map();
      this.#known.set(ruleName, known);
    }
    let closing = known.get(policy);
    if (closing === undefined) {
      const { kind, name, namespace, tier, priority, mode, defaultDeny, subject } = policy;
      const rules = [{ name: ruleName, action: "Deny", to: null, whenHidden: "Deny" }] as const;
      // Not by spreading: a packed policy would lose what its prototype has.
      closing = { kind, name, namespace, tier, priority, mode, defaultDeny, subject, rules };
      known.set(policy, closing);
    }
    return closing;
  }
}

function entriesAndPorts(entries: NonNullable<Policy["rules"][number]["to"]>): number {
  return entries.reduce((sum, { ports }) => sum + 1 + (ports?.length ?? 0), 0);
}
