import { describe, expect, test } from "vitest";
import type { Rule } from "../../../src/model/policy.ts";
import { RulesAtHand } from "../../../src/policy/rules-at-hand.ts";
import { policy } from "../../support/cases.ts";

const RULES: readonly Rule[] = [];

describe("rules at hand", () => {
  test("are those that were asked for last, as many as there is room for", () => {
    const kept = new RulesAtHand(3 * 1128);
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => policy(name, [])) as [never, never, never, never];
    for (const one of [a, b, c]) kept.keep(one, RULES, 1_000);
    expect(kept.of(a)).toBe(RULES);
    kept.keep(d, RULES, 1_000);
    expect([a, b, c, d].map((one) => kept.of(one) !== undefined)).toEqual([true, false, true, true]);
  });

  test("what is larger than all the room is not kept, and takes nothing else away", () => {
    const kept = new RulesAtHand(2_000);
    const [a, b] = [policy("a", []), policy("b", [])];
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
