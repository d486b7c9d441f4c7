import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, test } from "vitest";
import { regexWeight } from "../../../src/model/regex-weight.ts";
import { readClusterPolicy } from "../../../src/policy/cluster-reading.ts";
import { readAlone } from "../../../src/policy/object-judging.ts";
import { MOST_WEIGHT } from "../../../src/policy/regexes-check.ts";
import { runs } from "../../support/runs.ts";

test.each<[string, number]>([
  ["", 0],
  ["/a[0-9]+", 8],
  ["a{1000}", 1001],
  ["/a{2,5}b", 8],
  ["/a{3,}", 5],
  ["/a{0}", 3],
  ["a{x}", 4],
  ["(ab){10}", 40],
  ["(ab)\\Q\\E{10}", 80],
  ["((a{5}){4}){3}", ((3 + 5 + 1) * 4 + 1) * 3],
])("%s weighs %i", (text, weight) => {
  expect(regexWeight(text)).toBe(weight);
});

test("a program is never much longer than the weight says", () => {
  const piece = fc.constantFrom(
    ..."a . [^x] [)] [(] [{2}] \\( \\) \\{ \\pL \\d \\Q(\\E \\Q){9}\\E \\Q\\E \\x{30} {00040} ( (?: (?i: ) | * + ? {2} {9} {0,7} {3,} {40}".split(
      " ",
    ),
  );
  let compiled = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
      const text = pieces.join("");
      if (regexWeight(text) > 20_000) return;
      let size: number;
      try {
        size = RE2JS.compile(text).programSize();
      } catch {
        return;
      }
      compiled++;
      expect(size).toBeLessThanOrEqual(4 * regexWeight(text) + 8);
    }),
    { numRuns: runs(5000) },
  );
  expect(compiled).toBeGreaterThan(100);
});

describe("a policy with more than can be compiled in a moment", () => {
  const REGEX = "(((a|b|c)?){31}){31}".repeat(12);
  const paths = Array.from({ length: 16 }, () => ({ regex: REGEX }));
  const to = Array.from({ length: 16 }, () => ({ http: { paths } }));
  const object = (rest: object) => ({
    metadata: { name: "heavy", namespace: "ns" },
    spec: { rules: Array.from({ length: 128 }, (_, index) => ({ name: `r${index}`, action: "Allow", to, ...rest })) },
  });

  test.each([
    ["as it is", {}],
    ["with something else wrong with it", { action: "Perhaps", more: true }],
  ])("is refused at once: %s", (_, rest) => {
    const began = performance.now();
    expect(readAlone("EgressPolicy", object(rest)).errors).toContainEqual(
      expect.stringMatching(/^spec\.rules: the regular expressions have .* use at most 8192/),
    );
    const { value, flaw } = readClusterPolicy("EgressPolicy", object(rest));
    // One of these expressions takes a third of a second.
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(flaw?.reason === "Invalid" || flaw?.reason === "UnknownField").toBe(true);
    expect(value.defaultDeny).toBe(true);
    expect(value.rules.every(({ action, to }) => action === "Deny" && to === null)).toBe(true);
  });

  test("the bound lets through what people write", () => {
    expect(25 * regexWeight("/v[0-9]{1,2}/items/[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")).toBeLessThan(MOST_WEIGHT);
  });
});
