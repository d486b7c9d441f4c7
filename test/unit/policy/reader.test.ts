import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DocumentFile, DocumentReader, loadDocuments } from "../../../src/policy/documents.ts";
import { runs } from "../../support/runs.ts";

const rule = (text: string) => `  rules:\n    - name: one\n      action: Allow\n      to:\n        - ${text}\n`;
const policy = (name: string, body: string) =>
  `apiVersion: sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata:\n  name: ${name}\n  namespace: ns\nspec:\n${body}`;

/** Right, suspicious and wrong ones; plain ones and others. */
const documents = [
  policy("a", rule("cidrs: [192.0.2.0/24]")),
  policy("b", rule("domains: [a.example]")),
  policy("b", rule("domains:\n            - b.example\n          ports: [{ protocol: TCP, port: 443 }]")),
  policy("c", rule("group: g")),
  policy("c", rule("group: h\n          prots: []")),
  policy("d", rule("cidrs: [192.0.2.1/24]")),
  policy("e", "  subject: &s\n    podSelector: {}\n"),
  policy("f", "  priority: high\n  defaultDeny: maybe\n"),
  policy("g", "  rules: []\n  rules: []\n"),
  policy("h", "  rules: [\n"),
  "apiVersion: sallyport.dev/v1alpha1\nkind: DestinationGroup\nmetadata: { name: g }\nspec: { domains: [g.example] }\n",
  "apiVersion: sallyport.dev/v1alpha1\nkind: DestinationGroup\nmetadata: { name: g }\nspec: { cidrs: [192.0.2.0/24] }\n",
  "apiVersion: sallyport.dev/v1alpha1\nkind: AgentConfig\nmetadata: { name: x }\nspec: { resolvers: [192.0.2.53], podCIDRs: [10.0.0.0/24] }\n",
  "apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: ns }\n",
  "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Pod\n  - kind: Nothing\n",
  "kind: EgresPolicy\n",
  "# a comment\n",
  "\n\n",
  "...\n%YAML 1.2\n",
  "just text\n",
  "- a\n",
];

const text = fc
  .tuple(fc.constantFrom("", "---\n", "# above\n\n"), fc.array(fc.constantFrom(...documents), { maxLength: 5 }))
  .map(([head, parts]) => head + parts.join("---\n"));
const json = fc.constant(
  '{"apiVersion":"sallyport.dev/v1alpha1","kind":"EgressPolicy","metadata":{"name":"b","namespace":"ns"},"spec":{"x":1}}',
);
const files = fc
  .dictionary(
    fc.constantFrom("a.yaml", "b.yaml", "c.json"),
    fc.oneof({ arbitrary: text, weight: 9 }, { arbitrary: json, weight: 1 }),
  )
  .map((all): DocumentFile[] => Object.entries(all).map(([path, content]) => ({ path, text: content })));

describe("reading again", () => {
  test("says what reading afresh says, positions and all", () => {
    fc.assert(
      fc.property(fc.array(files, { minLength: 2, maxLength: 5 }), (versions) => {
        const reader = new DocumentReader(true);
        for (const version of versions) expect(reader.load(version)).toEqual(loadDocuments(version));
      }),
      { numRuns: runs(60) },
    );
  });

  test("says what the YAML reader alone would say", () => {
    const plain = fc.constantFrom(...documents.filter((document) => !/[&[{]\S* *\n|^\.\.\.|^just/m.test(document)));
    // An anchor leaves the whole file to the YAML reader; nobody judges this document.
    const slow = "---\n&x { kind: EgressTest, apiVersion: sallyport.dev/v1alpha1 }\n";
    fc.assert(
      fc.property(fc.array(plain, { minLength: 1, maxLength: 6 }), (parts) => {
        const text = parts.join("---\n");
        fc.pre(text.trim() !== "");
        expect(loadDocuments([{ path: "f", text }])).toEqual(loadDocuments([{ path: "f", text: `${text}${slow}` }]));
      }),
      { numRuns: runs(60) },
    );
  });

  test("a document that only moved is the same object", () => {
    const reader = new DocumentReader(true);
    const [first] = reader.load([{ path: "f", text: documents[0]! }]).policies;
    const text = `---\n# new above\n${documents[2]}---\n${documents[0]}`;
    const { policies } = reader.load([{ path: "f", text }]);
    expect(policies[1]).toBe(first);
    expect(reader.load([{ path: "f", text }]).policies).toEqual(policies);
  });

  test("positions count from the start of the file", () => {
    const reader = new DocumentReader(true);
    reader.load([{ path: "f", text: documents[5]! }]);
    const [problem] = reader.load([{ path: "f", text: `# one\n---\n${documents[0]}---\n${documents[5]}` }]).problems;
    expect(problem).toMatchObject({ code: "Check", line: 25, column: 19 });
  });

  test("without warnings the errors stay", () => {
    const version = [{ path: "f", text: `${documents[1]}---\n${documents[13]}---\n${documents[5]}` }];
    const all = loadDocuments(version);
    expect(all.problems.map(({ severity }) => severity)).toEqual(["warning", "warning", "error"]);
    expect(new DocumentReader(false).load(version)).toEqual({
      ...all,
      problems: all.problems.filter(({ severity }) => severity === "error"),
    });
  });

  test("a file that is no text, and then is one", () => {
    const reader = new DocumentReader(true);
    const problem = { line: 1, column: 2, message: "the file is not UTF-8 text" };
    expect(reader.load([{ path: "f", text: "", problem }]).problems).toHaveLength(1);
    expect(reader.load([{ path: "f", text: "" }]).problems[0]?.message).toMatch(/empty/);
    expect(reader.load([{ path: "f", text: documents[0]! }]).problems).toEqual([]);
    expect(reader.load([{ path: "f", text: documents[0]!, problem }]).problems).toHaveLength(1);
  });

  test("warnings, however many, keep nothing from running; they are counted", () => {
    const many = Array.from({ length: 1100 }, (_, i) => documents[1]!.replace("name: b", `name: b${i}`)).join("---\n");
    const { problems } = loadDocuments([{ path: "f", text: many }]);
    expect(problems).toHaveLength(1001);
    expect(problems.at(-1)).toMatchObject({ code: "TooMany", severity: "warning" });
  });
});
