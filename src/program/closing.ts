import type { Policy } from "../model/policy.ts";

/** Name of the rule that denies what no NetworkPolicy of a pod accepts. */
export const CLOSING_RULE = "default-deny";

/**
 * A pod that some NetworkPolicy selects is denied what none of them accepts: their union ends in one Deny, which stands behind the last
 * of them and is told as a rule of the first.
 */
export class Closings {
  /** One object for each policy, so that it is compiled once. */
  readonly #known = new Map<Policy, Policy>();

  /** `policies`: those that select one class, in the order they are walked. */
  close(policies: readonly Policy[]): readonly Policy[] {
    const first = policies.findIndex(({ tier }) => tier === "NetworkPolicy");
    if (first < 0) return policies;
    const last = policies.findLastIndex(({ tier }) => tier === "NetworkPolicy");
    return [...policies.slice(0, last + 1), this.#closing(policies[first]!), ...policies.slice(last + 1)];
  }

  #closing(policy: Policy): Policy {
    const known = this.#known.get(policy);
    if (known !== undefined) return known;
    const { kind, name, namespace, tier, priority, mode, defaultDeny, subject } = policy;
    const rules = [{ name: CLOSING_RULE, action: "Deny", to: null, whenHidden: "Deny" }] as const;
    // Not by spreading: a packed policy would lose what its prototype has.
    const closing = { kind, name, namespace, tier, priority, mode, defaultDeny, subject, rules };
    this.#known.set(policy, closing);
    return closing;
  }
}
