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
 * all but one of them are as they were. Bounded, for on some node all policies may be asked for. A policy that is not there any more is let go of
 * at the second change after: it holds the block of texts that it stood in.
 */
export class RulesAtHand {
  /** Since the last change, and between the one before and that. */
  #now = new Map<Policy, Kept>();
  #before = new Map<Policy, Kept>();
  readonly #most: number;
  #size = 0;

  constructor(most = MOST) {
    this.#most = most;
  }

  of(policy: Policy): readonly Rule[] | undefined {
    const known = this.#now.get(policy);
    if (known !== undefined) return known.rules;
    const older = this.#before.get(policy);
    if (older === undefined) return undefined;
    this.#before.delete(policy);
    this.#now.set(policy, older);
    return older.rules;
  }

  /** `length`: characters of their text. */
  keep(policy: Policy, rules: readonly Rule[], length: number): void {
    const size = length + EACH;
    if (size > this.#most || this.of(policy) !== undefined) return;
    this.#now.set(policy, { rules, size });
    this.#size += size;
    for (const kept of [this.#before, this.#now]) {
      for (const [oldest, { size: freed }] of kept) {
        if (this.#size <= this.#most) return;
        kept.delete(oldest);
        this.#size -= freed;
      }
    }
  }

  /** Policies have changed. */
  changed(): void {
    // Nobody has compiled since the last change.
    if (this.#now.size === 0) return;
    for (const { size } of this.#before.values()) this.#size -= size;
    this.#before = this.#now;
    this.#now = new Map();
  }
}
