import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DomainPattern, patternMatches } from "../../../src/net/pattern.ts";
import { buildNameTable } from "../../../src/program/name-buckets.ts";
import { NameFinder } from "../../../src/program/name-table.ts";
import { PostingsBuilder } from "../../../src/program/postings.ts";
import { domain } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";

function open(sets: readonly (readonly DomainPattern[])[]) {
  const builder = new PostingsBuilder();
  const table = buildNameTable(sets, builder);
  const postings = builder.share();
  const finder = new NameFinder(table);
  return (name: string): number[] => {
    const found = finder.find(name);
    const sets = new Set<number>();
    for (const list of finder.lists.subarray(0, found)) {
      for (const set of postings.subarray(list + 1, list + 1 + postings[list]!)) sets.add(set);
    }
    return [...sets].sort((a, b) => a - b);
  };
}

describe("the name table", () => {
  const find = open(
    [["a.test", "*.b.test"], ["*"], ["*.test", "b.test"], ["*.a.b.test", "a.test"]].map((set) => set.map(domain)),
  );

  test.each<[string, number[]]>([
    ["a.test", [0, 1, 2, 3]],
    ["b.test", [1, 2]],
    ["x.b.test", [0, 1, 2]],
    ["x.y.b.test", [0, 1, 2]],
    ["x.a.b.test", [0, 1, 2, 3]],
    ["xb.test", [1, 2]],
    ["test", [1]],
    ["a.test.evil", [1]],
    ["", [1]],
    ["ａ.test", [1, 2]],
    ["a".repeat(254), [1]],
  ])("%s", (name, sets) => {
    expect(find(name)).toEqual(sets);
  });

  test("an empty table finds nothing", () => {
    expect(open([])("a.test")).toEqual([]);
  });

  const label = fc.constantFrom("a", "b", "ab", "x-y", "_c");
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));
  const pattern: fc.Arbitrary<DomainPattern> = fc.oneof(
    name.map((text) => ({ kind: "exact" as const, name: text })),
    name.map((text) => ({ kind: "below" as const, name: text })),
    fc.constant({ kind: "any" as const }),
  );

  test("agrees with the plain meaning of patterns", () => {
    fc.assert(
      fc.property(fc.array(fc.array(pattern, { maxLength: 12 }), { maxLength: 8 }), fc.array(name), (sets, names) => {
        const lookup = open(sets);
        for (const wanted of [...names, ...sets.flat().map((p) => (p.kind === "any" ? "a" : p.name))]) {
          const plain = sets.flatMap((set, id) => (set.some((p) => patternMatches(p, wanted)) ? [id] : []));
          expect(lookup(wanted)).toEqual(plain);
        }
      }),
      { numRuns: runs(300) },
    );
  });

  test.each([1, 3, 4, 5, 31, 60, 63])("labels of %i bytes and more names than a bucket holds", (size) => {
    const stem = (i: number) => String(i).padStart(size, "x").slice(-size);
    const names = Array.from({ length: Math.min(500, 10 ** size) }, (_, i) => stem(i));
    const lookup = open(names.map((label): DomainPattern[] => [domain(`${label}.test`), domain(`*.${label}.test`)]));
    for (const [id, label] of names.entries()) {
      expect(lookup(`${label}.test`)).toEqual([id]);
      expect(lookup(`a.b.${label}.test`)).toEqual([id]);
      expect(lookup(`${label}y.test`)).toEqual([]);
    }
    expect(lookup(`${"a".repeat(64)}.${names[0]!}.test`)).toEqual([0]);
  });

  test("reads any text without harm", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => void find(text)));
    expect(find(".".repeat(253))).toEqual([1]);
  });

  test("a name under a hundred patterns finds them all", () => {
    const labels = Array.from({ length: 120 }, () => "a");
    const sets = labels.map((_, at): DomainPattern[] => [{ kind: "below", name: labels.slice(at).join(".") }]);
    expect(open(sets)(["x", ...labels].join("."))).toHaveLength(120);
  });
});
