import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DomainPattern, patternMatches } from "../../../src/net/pattern.ts";
import { buildNameTable, findNameLists, MOST_LISTS } from "../../../src/program/name-table.ts";
import { PostingsBuilder } from "../../../src/program/postings.ts";
import { domain } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";

function open(sets: readonly (readonly DomainPattern[])[]) {
  const builder = new PostingsBuilder();
  const table = buildNameTable(sets, builder);
  const postings = builder.share();
  const lists = new Uint32Array(MOST_LISTS);
  return (name: string): number[] => {
    const found = findNameLists(table, name, lists);
    const sets = new Set<number>();
    for (const list of lists.subarray(0, found)) {
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
