import { regexWeight } from "../model/regex-weight.ts";
import { at, type Check } from "./check.ts";

/** Of all regular expressions of a policy. A letter takes some 5 microseconds to check, where it is a Unicode class 15. */
export const MOST_WEIGHT = 8_192;

/** Of all `http.paths` of rules that may not be valid in anything. */
function weightOfRules(rules: unknown): number {
  let weight = 0;
  for (const rule of listOf(rules)) {
    for (const entry of listOf(field(rule, "to"))) {
      for (const path of listOf(field(field(entry, "http"), "paths"))) {
        const regex = field(path, "regex");
        if (typeof regex === "string") weight += regexWeight(regex);
      }
    }
  }
  return weight;
}

export const REGEXES_NOT_TOO_HEAVY: Check<readonly unknown[]> = {
  name: "regexes-not-too-heavy",
  first: true,
  api: {
    by: "status",
    why: "what repetitions write out cannot be counted in an expression; such a policy is not read",
  },
  find(rules) {
    const weight = weightOfRules(rules);
    if (weight <= MOST_WEIGHT) return null;
    const has = Number.isSafeInteger(weight) ? String(weight) : "too many";
    return at(
      `the regular expressions have ${has} characters, repetitions written out: use at most ${MOST_WEIGHT} in a policy, \`prefix\` where it will do, or several policies`,
    );
  },
};

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
