import { describe, expect, test } from "vitest";
import type { Policy, Rule } from "../../../src/model/policy.ts";
import { RulesAtHand } from "../../../src/policy/rules-at-hand.ts";
import { policy } from "../../support/cases.ts";

const RULES: readonly Rule[] = [];
const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => policy(name, [])) as [Policy, Policy, Policy, Policy];

function isKept(kept: RulesAtHand, ...policies: readonly Policy[]): boolean[] {
  return policies.map((one) => kept.of(one) !== undefined);
}

describe("rules at hand", () => {
  test("are let go of where they were not asked for between two changes", () => {
    const kept = new RulesAtHand();
    for (const one of [a, b]) kept.keep(one, RULES, 1_000);
    kept.changed();
    expect(kept.of(a)).toBe(RULES);
    kept.keep(c, RULES, 1_000);
    kept.changed();
    expect(isKept(kept, a, b, c)).toEqual([true, false, true]);
  });

  test("stay while changes follow each other and nobody asks", () => {
    const kept = new RulesAtHand();
    kept.keep(a, RULES, 1_000);
    for (let i = 0; i < 5; i++) kept.changed();
    expect(isKept(kept, a)).toEqual([true]);
  });

  test("are as many as there is room for: those that nobody asked for since the last change go first", () => {
    const kept = new RulesAtHand(3 * 1128);
    for (const one of [a, b, c]) kept.keep(one, RULES, 1_000);
    kept.changed();
    expect(kept.of(a)).toBe(RULES);
    kept.keep(d, RULES, 1_000);
    expect(isKept(kept, a, b, c, d)).toEqual([true, false, true, true]);
    const e = policy("e", []);
    kept.keep(e, RULES, 1_000);
    expect(isKept(kept, a, c, d, e)).toEqual([false, true, true, true]);
    // The room of what was let go of is free again.
    for (let i = 0; i < 10; i++) {
      kept.changed();
      const one = policy(`n-${i}`, []);
      kept.keep(one, RULES, 1_000);
      kept.keep(a, RULES, 1_000);
      expect(isKept(kept, one, a)).toEqual([true, true]);
      kept.changed();
      kept.keep(b, RULES, 10);
      kept.changed();
    }
  });

  test("what is larger than all the room is not kept, and takes nothing else away", () => {
    const kept = new RulesAtHand(2_000);
    kept.keep(a, RULES, 1_000);
    kept.keep(b, RULES, 2_000);
    expect([kept.of(a), kept.of(b)]).toEqual([RULES, undefined]);
  });

  test("empty ones take room, too", () => {
    const kept = new RulesAtHand(10_000);
    const many = Array.from({ length: 1_000 }, (_, index) => policy(`p-${index}`, []));
    for (const one of many) kept.keep(one, RULES, 2);
    expect(many.filter((one) => kept.of(one) !== undefined)).toHaveLength(76);
  });
});
