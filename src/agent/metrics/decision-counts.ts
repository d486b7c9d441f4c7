import type { FlowEvent } from "../../flow/event.ts";
import type { Action, Reason } from "../../model/decision.ts";
import { type Policy, policyRef } from "../../model/policy.ts";

/** Names that metrics may carry are bounded, whatever decides here; the rest is counted under one. */
const MOST_POLICIES = 2_000;
/** Of a policy that is not in force any more, or beyond the bound. */
export const OTHER_POLICY = "(other)";
const KINDS = ["flow", "request", "dns"] as const;
const ACTIONS = ["Allow", "Deny"] as const;

type NamedPolicy = Pick<Policy, "kind" | "name" | "namespace">;

export interface DecisionCount {
  /** `Kind/name` or `Kind/namespace/name`; null where no rule decided. */
  readonly policy: string | null;
  readonly kind: FlowEvent["kind"];
  readonly action: Action;
  readonly count: number;
}

/** Counts decisions by policy, kind and action, and denials by reason. Policies that leave take their counts along. */
export class DecisionCounts {
  #policies: readonly NamedPolicy[] = [];
  readonly #byPolicy = new Map<string | null, Float64Array>();
  readonly #denials = new Map<Reason, number>();
  readonly #audit = { Allow: 0, Deny: 0 };

  /** Those in force. Of thousands few decide anything here: no text is made of each of them at every change. */
  setPolicies(policies: readonly NamedPolicy[]): void {
    this.#policies = policies;
    const names = new Set([...this.#byPolicy.keys()].map((reference) => nameOf(reference ?? "")));
    const left = new Set(policies.filter(({ name }) => names.has(name)).map(policyRef));
    for (const policy of this.#byPolicy.keys()) {
      if (policy !== null && policy !== OTHER_POLICY && !left.has(policy)) this.#byPolicy.delete(policy);
    }
  }

  count(event: FlowEvent): void {
    const { policy, action, reason } = event.decision;
    const row = this.#row(policy === null || this.#isNamed(policy) ? policy : OTHER_POLICY);
    row[KINDS.indexOf(event.kind) * 2 + ACTIONS.indexOf(action)]! += 1;
    if (action === "Deny") this.#denials.set(reason, (this.#denials.get(reason) ?? 0) + 1);
    if (event.audit !== null) this.#audit[event.audit.action]++;
  }

  /** Those above zero. */
  decisions(): DecisionCount[] {
    return [...this.#byPolicy].flatMap(([policy, row]) =>
      KINDS.flatMap((kind, k) =>
        ACTIONS.map((action, a) => ({ policy, kind, action, count: row[k * 2 + a]! })).filter(({ count }) => count > 0),
      ),
    );
  }

  denials(): ReadonlyMap<Reason, number> {
    return this.#denials;
  }

  /** How often Audit policies would have decided otherwise, by what they would have done. */
  audit(): Readonly<Record<Action, number>> {
    return this.#audit;
  }

  /** It is in force, and one of the first to decide anything here: most policies of a cluster concern other nodes. */
  #isNamed(policy: string): boolean {
    return this.#byPolicy.has(policy) || (this.#byPolicy.size < MOST_POLICIES && this.#isInForce(policy));
  }

  /** Asked at its first decision. */
  #isInForce(reference: string): boolean {
    const name = nameOf(reference);
    return this.#policies.some((policy) => policy.name === name && policyRef(policy) === reference);
  }

  #row(policy: string | null): Float64Array {
    let row = this.#byPolicy.get(policy);
    if (row === undefined) {
      row = new Float64Array(KINDS.length * ACTIONS.length);
      this.#byPolicy.set(policy, row);
    }
    return row;
  }
}

/** Of the policy that a reference names. */
function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}
