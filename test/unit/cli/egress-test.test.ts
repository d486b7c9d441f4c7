import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readEgressTests } from "../../../src/cli/egress-test.ts";
import { junitXml } from "../../../src/cli/junit.ts";

const HEAD =
  "apiVersion: sallyport.dev/v1alpha1\nkind: EgressTest\nmetadata: { name: t }\nspec:\n  policies: [../policies]\n  workloads: pods.yaml\n  cases:\n";

describe("EgressTest documents", () => {
  test("short and long expectations, paths beside the file", () => {
    const text = `${HEAD}    - { from: a/b, to: "dns://x.example", expect: Deny }\n    - { name: n, from: a/b, to: "tcp://x.example:22", ip: 192.0.2.1, expect: { action: Allow, policy: null, rule: r } }\n`;
    const { tests, problems } = readEgressTests("team/tests/t.yaml", text);
    expect(problems).toEqual([]);
    expect(tests).toEqual([
      {
        name: "t",
        file: "team/tests/t.yaml",
        policies: ["team/policies"],
        workloads: "team/tests/pods.yaml",
        config: null,
        cases: [
          {
            name: "a/b to dns://x.example",
            from: "a/b",
            to: "dns://x.example",
            ip: null,
            expect: { action: "Deny" },
            line: 8,
          },
          {
            name: "n",
            from: "a/b",
            to: "tcp://x.example:22",
            ip: "192.0.2.1",
            expect: { action: "Allow", policy: null, rule: "r" },
            line: 9,
          },
        ],
      },
    ]);
  });

  const wrong: readonly (readonly [string, string])[] = [
    [`${HEAD}    - { from: a/b, to: "dns://x", expct: Deny }`, "f.yaml:8:35: unknown field `expct`"],
    [`${HEAD}    - { from: a, to: "dns://x", expect: Deny }`, "f.yaml:8:15: `from` is no pod: write NAMESPACE/POD"],
    [`${HEAD}    - { from: a/b, to: "dns://x", expect: Alow }`, "did you mean `Allow`?"],
    [
      `${HEAD}    - { from: a/b, to: "dns://x", expect: { action: Deny, reason: DefaultDny } }`,
      "did you mean `DefaultDeny`?",
    ],
    [`${HEAD}    []`, "`cases` is empty"],
    [
      "apiVersion: sallyport.dev/v1alpha1\nkind: EgresTest\n",
      "f.yaml:2:7: kind `EgresTest` is not known: did you mean `EgressTest`?",
    ],
    ["a: [", "not readable as YAML"],
  ];
  test.each(wrong)("%s", (text, message) => {
    const { tests, problems } = readEgressTests("f.yaml", text);
    expect(tests).toEqual([]);
    expect(problems.join("\n")).toContain(message);
  });

  test("other documents in the folder are left alone", () => {
    const text = "apiVersion: v1\nkind: List\nitems: []\n---\napiVersion: sallyport.dev/v1alpha1\nkind: AgentConfig\n";
    expect(readEgressTests("f.yaml", text)).toEqual({ tests: [], problems: [] });
  });

  test("nothing that is written makes it throw", () => {
    const lines = fc.constantFrom(
      ...HEAD.split("\n"),
      "    - { from: a/b, to: x, expect: Deny }",
      "    - &a [*a]",
      "  cases: {}",
      "spec: 1",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(lines).map((parts) => parts.join("\n")),
        ),
        (text) => void readEgressTests("f", text),
      ),
    );
  });
});

test("JUnit XML holds any text", () => {
  const { tests } = readEgressTests(
    "a&b.yaml",
    `${HEAD}    - { name: "<\\"x\\">\\u0001", from: a/b, to: "dns://x", expect: Deny }\n    - { from: a/b, to: "dns://y", expect: Deny }\n`,
  );
  const [egressTest] = tests;
  const [first, second] = egressTest!.cases;
  const results = [
    { test: egressTest!, testCase: first!, decision: null, problem: null },
    { test: egressTest!, testCase: second!, decision: null, problem: "expected `Deny`\n& 'more'" },
  ];
  expect(junitXml(results)).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="sallyport" tests="2" failures="1" errors="0" skipped="0">
  <testsuite name="t" file="a&amp;b.yaml" tests="2" failures="1" errors="0" skipped="0">
    <testcase classname="t" name="&lt;&quot;x&quot;&gt;?" file="a&amp;b.yaml" line="8"/>
    <testcase classname="t" name="a/b to dns://y" file="a&amp;b.yaml" line="9">
      <failure message="expected \`Deny\`&#10;&amp; &apos;more&apos;"/>
    </testcase>
  </testsuite>
</testsuites>
`);
});
