import type { Policy, Rule } from "../model/policy.ts";

/** Characters of the rules' texts; as objects they take four times as much. */
const MOST = 1024 * 1024;
/** What one takes besides, in the same measure. */
const EACH = 128;

interface Kept {
  readonly rules: readonly Rule[];
  readonly size: number;
}

/**
 * Rules of packed policies that were asked for lately: whoever compiles after a change asks for the rules of the same policies again, and
 * all but one of them are as they were. Bounded, for on some node all policies may be asked for.
 */
export class RulesAtHand {
  /** The one that was asked for longest ago comes first. */
  readonly #kept = new Map<Policy, Kept>();
  readonly #most: number;
  #size = 0;

  constructor(most = MOST) {
    this.#most = most;
  }

  of(policy: Policy): readonly Rule[] | undefined {
    const kept = this.#kept.get(policy);
    if (kept === undefined) return undefined;
    this.#kept.delete(policy);
    this.#kept.set(policy, kept);
    return kept.rules;
  }

  /** `length`: characters of their text. */
  keep(policy: Policy, rules: readonly Rule[], length: number): void {
    const size = length + EACH;
    if (size > this.#most) return;
    this.#kept.set(policy, { rules, size });
    this.#size += size;
    for (const [oldest, { size: freed }] of this.#kept) {
      if (this.#size <= this.#most) return;
      this.#kept.delete(oldest);
      this.#size -= freed;
    }
  }
}
