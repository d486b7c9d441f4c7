import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { NOT_PLAIN } from "../../../src/policy/plain-scalar.ts";
import { readPlain } from "../../../src/policy/plain-yaml.ts";
import { readSource } from "../../../src/policy/source.ts";
import { readYaml } from "../../../src/policy/yaml-source.ts";
import { runs } from "../../support/runs.ts";

/** What the fast reader takes, it takes as the YAML reader does. Returns whether it took it. */
function sameIfPlain(text: string): boolean {
  const plain = readPlain(text, { values: 1000 });
  if (plain === NOT_PLAIN) return false;
  const { documents, problems } = readYaml(text);
  expect(problems, text).toEqual([]);
  expect(
    documents.map(({ value }) => value),
    text,
  ).toEqual([plain]);
  return true;
}

const atoms =
  'a b name a.b/c-d 1 0 -1 01 1. .5 1e3 0x1f 0o7 12345678901234567 true True null ~ yes No on .inf .nan 10.0.0.0/8 10.0.0.1 fd00::1 fd00:: ::1 2001:db8::/32 2026-01-01 12:30:00 1_000 *.x.example a:b a: :a a#b #a # - -- --- ... ? ! & * | > |- % @ ` , , [ ] { } [] {} [a] {a: 1} [a, b] \' " \'a\' "a" "*.x" "a\\n" \'\' "" \'it\'\'s\' é \u00a0 \u2028 \t \\ $ ( ) = + << __proto__ constructor toString a,b &a *a !x a? ?a --a -a -1a -.5 a]b a\'b a"b a|b [a "\\t\\"" "\\/" $a (a ^a a! a& .a /a _a ~a'.split(
    " ",
  );

const token = fc.constantFrom(...atoms, ": ", ": ", " ", "  ", "- ", " # c", ": {", ": [", ", ");
const line = fc
  .tuple(
    fc.constantFrom("", "", "  ", "  ", "    ", " ", "      "),
    fc.constantFrom("", "", "- ", "-   ", "- - "),
    fc.constantFrom("", "a: ", "b: ", "c: ", "a:", "b:", "a.b/c: ", "1: "),
    fc.array(token, { maxLength: 3 }),
  )
  .map(([indent, dash, key, rest]) => `${indent}${dash}${key}${rest.join("")}`);

const flow: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(...atoms),
    fc.array(tie("value"), { maxLength: 3 }).map((all) => `[${all.join(", ")}]`),
    fc
      .array(fc.tuple(fc.constantFrom("a", "b", "c", "1", "'a'", "true"), tie("value")), { maxLength: 3 })
      .map((all) => `{ ${all.map(([key, value]) => `${key}: ${value}`).join(", ")} }`),
  ),
})).value;

const tame = fc.constantFrom(
  "a",
  "a.b/c-d",
  "10.0.0.0/8",
  "*.x.example",
  "a b",
  "true",
  "0x1f",
  "it's",
  "",
  1,
  443,
  true,
  null,
);
const tree: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.oneof({ arbitrary: tame, weight: 9 }, { arbitrary: fc.constantFrom(...atoms), weight: 1 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom("a", "b", "c.d/e-f", "g", "h", "1", "true"), tie("value"), { maxKeys: 4 }),
  ),
})).value;
const value = fc.oneof(fc.array(tree), fc.dictionary(fc.constantFrom("a", "b", "c"), tree));

describe("the fast reader", () => {
  test("random lines", () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        if (sameIfPlain(lines.join("\n"))) taken++;
      }),
      { numRuns: runs(3000) },
    );
    expect(taken).toBeGreaterThan(runs(30));
  });

  test("random scalars and flow collections", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          flow,
          fc.array(token, { maxLength: 5 }).map((all) => all.join("")),
        ),
        (text) => {
          sameIfPlain(`a: ${text}\nb: 1`);
          sameIfPlain(`a:\n  - ${text}\n  - 1`);
        },
      ),
      { numRuns: runs(3000) },
    );
  });

  test("values that a YAML writer wrote, and a change in them", () => {
    let taken = 0;
    fc.assert(
      fc.property(
        value,
        fc.nat(),
        fc.constantFrom("", "\n", " ", ":", "-", "#", "'", "  ", "[", "a"),
        (given, at, put) => {
          const text = stringify(given);
          if (sameIfPlain(text)) taken++;
          const where = at % (text.length + 1);
          sameIfPlain(text.slice(0, where) + put + text.slice(where));
          sameIfPlain(text.slice(0, where) + text.slice(where + 1));
        },
      ),
      { numRuns: runs(1500) },
    );
    expect(taken).toBeGreaterThan(runs(1500) / 10);
  });

  test.each([
    "a: 1\nb:\n  - c: d\n    e: [f, 'g']\n  - h\nk: { l: 1, m: [] } # n\n",
    'a: --flag=x\nb:\n  - -c\n  - $(A) it\'s "b" [c] {d}\nc: \'it\'\'s\'\nd: "a\\n\\"b\\""\n',
    "# a\na:\n- b\n- c: 1\n\n  # x\n  d: 2\ne:\n",
    'apiVersion: v1\nports: [{ protocol: TCP, port: 443 }]\nname: "*.github.com"\n',
    "a: 2001:db8::/32\nb: [2001:db8::/32, 10.0.0.0/8]\n",
  ])("everyday text is taken: %j", (text) => {
    expect(sameIfPlain(text)).toBe(true);
  });

  test.each([
    "a: 1\na: 2",
    "{ a: 1, a: 2 }",
    "a: &x 1\nb: *x",
    "<<: { a: 1 }",
    "__proto__: { a: 1 }",
    "a: |\n  b",
    "a: b\n  c",
    "a: 0x1f",
    "a: ~",
    "a: Null",
    "a: 1e3",
    "a: - b",
    "a: b: c",
    "a:\tb",
    "a: b\r\n",
    "\ufeffa: b",
    'a: "\\x41"',
    " a: b",
    "? a\n: b",
    "",
    "a",
  ])("anything else is left to the YAML reader: %j", (text) => {
    expect(readPlain(text, { values: 1000 })).toBe(NOT_PLAIN);
  });

  test("lines of megabytes are read or left, never thrown", () => {
    for (const text of [
      "a".repeat(4_000_000),
      `[${"a, ".repeat(900_000)}a]`,
      `'${"''".repeat(2_000_000)}'`,
      `"${"\\n".repeat(2_000_000)}"`,
    ]) {
      const { documents } = readSource(`a: ${text}\n`, () => null);
      expect(documents).toHaveLength(1);
    }
  });

  test("a value more than the file may hold", () => {
    expect(readPlain("- a\n- [b, c]", { values: 5 })).toEqual(["a", ["b", "c"]]);
    expect(readPlain("- a\n- [b, c]", { values: 4 })).toBe(NOT_PLAIN);
  });
});

describe("a file", () => {
  const part = fc.constantFrom(
    ..."a: 1|- a\n- b|# only a comment|a: |--- a|--- |---|----|... |...|%YAML 1.1|a: 'x\n---\n'|a: [|a: &x 1|b: *x| |\n|  a: 1|a: |a|{ a: 1 }|[1]|a: |a: |\n  x|a: \"x".split(
      "|",
    ),
  );

  test("has the documents that the YAML reader finds in it", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(part, fc.constantFrom("\n---\n", "\n--- \n", "\n", "", "\n---"))), (parts) => {
        sameSource(parts.flat().join(""));
      }),
      { numRuns: runs(1000) },
    );
  });

  test("of JSON", () => {
    const keys = fc.constantFrom("a", "b", "__proto__", "", ":", "1", "é");
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom("a", '"', "\\", ":", "\u0001", 1.5, -0, 1e30, null, true, 7),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.array(fc.tuple(keys, tie("value")), { maxLength: 3 }).map(Object.fromEntries),
      ),
    })).value;
    fc.assert(
      fc.property(
        fc.oneof(fc.array(json), fc.dictionary(keys, json)),
        fc.constantFrom(0, 2),
        fc.nat(),
        (given, indent, at) => {
          const text = JSON.stringify(given, null, indent);
          sameSource(text);
          sameSource(text.replace('"b":', '"a":'));
          sameSource(text.slice(0, at % text.length) + text.slice((at % text.length) + 1));
        },
      ),
      { numRuns: runs(300) },
    );
    for (const text of [
      '{"a":1,"a":2}',
      '[{"b":{"a":1,"a":2}}]',
      '{"a":":","a":1}',
      '{"a":1}\n{"b":2}',
      '{"__proto__":1}',
    ])
      sameSource(text);
  });

  function sameSource(text: string): void {
    const fast = readSource(text, () => null);
    const slow = readYaml(text);
    expect(
      fast.documents.map(({ content }) => !content.known && content.value),
      text,
    ).toEqual(slow.documents.map(({ value }) => value));
    expect(fast.problems, text).toEqual(slow.problems);
  }
});
