import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DomainPattern, patternMatches } from "../../../src/net/pattern.ts";
import { buildNameTable } from "../../../src/program/name-buckets.ts";
import { drawKeys } from "../../../src/program/name-hash.ts";
import { NameFinder } from "../../../src/program/name-table.ts";
import { PostingsBuilder } from "../../../src/program/postings.ts";
import { domain } from "../../support/cases.ts";
import { runs } from "../../support/runs.ts";

function open(sets: readonly (readonly DomainPattern[])[], draw = drawKeys) {
  const builder = new PostingsBuilder();
  const table = buildNameTable(sets, builder, draw);
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
    [`${"a".repeat(249)}.test`, [1]],
    [`${"ａ".repeat(248)}.test`, [1, 2]],
    // what is nothing in a hash must not be nothing in a name
    ["\0a.test", [1, 2]],
    ["x.\0b.test", [1, 2]],
    ["a.test\0", [1]],
    ["x/b.test", [1, 2]],
    ["x./b.test", [1, 2]],
    ["..b.test", [0, 1, 2]],
    ["a.test.", [1]],
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

  test("agrees with the plain meaning of patterns for any text", () => {
    const piece = fc.constantFrom("a", "b.test", ".b.test", ".", "/", "\0", "é", "ａ", "\ud800", ".test", "*");
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
    const patterns = ["a.test", "*.b.test", "*.test", "b.test", "*.a.b.test"].map(domain);
    const lookup = open(patterns.map((one) => [one]));
    const plain = (wanted: string) => patterns.flatMap((one, id) => (patternMatches(one, wanted) ? [id] : []));
    fc.assert(
      fc.property(text, (wanted) => {
        // no pattern means a name that begins with nothing
        const name = wanted.replace(/^\.+/, "");
        expect(lookup(name)).toEqual(plain(name));
      }),
      { numRuns: runs(1000) },
    );
  });

  test("keys with which names collide are not kept", () => {
    const draws = [0, 1, 2].map((at) => (at < 2 ? new Uint32Array(drawKeys().length) : drawKeys()));
    const draw = () => draws.shift()!;
    const lookup = open([["a.test", "b.test"].map(domain), ["*.a.test"].map(domain)], draw);
    expect(draws).toEqual([]);
    expect(["a.test", "b.test", "c.test", "x.a.test"].map(lookup)).toEqual([[0], [0], [], [1]]);
  });

  test("a name in several sets is no collision", () => {
    const sets = [["a.test", "a.test", "*.a.test"], ["a.test"], ["*.a.test", "a.test", "a.test"]];
    const keys = drawKeys();
    let draws = 0;
    const lookup = open(
      sets.map((set) => set.map(domain)),
      () => {
        draws++;
        return keys;
      },
    );
    expect([draws, lookup("a.test"), lookup("x.a.test")]).toEqual([1, [0, 1, 2], [0, 2]]);
  });

  test("tables are asked in turns", () => {
    const lookups = Array.from({ length: 5 }, (_, i) => open([[domain(`a${i}.test`)]]));
    for (let turn = 0; turn < 3; turn++) {
      for (const [i, lookup] of lookups.entries()) {
        expect([lookup(`a${i}.test`), lookup(`a${i + 1}.test`)]).toEqual([[0], []]);
      }
    }
  });

  test("patterns of more levels than have a bit of their own", () => {
    const name = (labels: number) => Array.from({ length: labels }, (_, i) => `l${labels - i}`).join(".");
    const lookup = open(
      [30, 31, 32, 33, 40, 60].map((labels): DomainPattern[] => [{ kind: "exact", name: name(labels) }]),
    );
    expect([29, 30, 31, 32, 33, 34, 40, 60, 61].map((labels) => lookup(name(labels)))).toEqual([
      ...[[], [0], [1], [2], [3], [], [4], [5], []],
    ]);
  });

  test("a name that is too long for DNS is refused", () => {
    expect(() => open([[{ kind: "exact", name: `${"a.".repeat(126)}aa` }]])).toThrow("is longer than 253 characters");
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
