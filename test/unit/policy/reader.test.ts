import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DocumentFile,
  DocumentReader,
  type LoadedDocuments,
  loadDocuments,
  putAway,
} from "../../../src/policy/documents.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";
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

  test("packed policies say what the others say, version after version", () => {
    const unpacked = (loaded: LoadedDocuments): LoadedDocuments => ({
      ...loaded,
      policies: loaded.policies.map(({ kind, name, namespace, tier, priority, mode, defaultDeny, subject, rules }) => ({
        kind,
        name,
        namespace,
        tier,
        priority,
        mode,
        defaultDeny,
        subject,
        rules,
      })),
    });
    fc.assert(
      fc.property(fc.array(files, { minLength: 2, maxLength: 5 }), (versions) => {
        const reader = new DocumentReader(true, TEXT_PACKER);
        for (const version of versions) {
          const loaded = reader.load(version);
          expect(unpacked(loaded)).toEqual(loadDocuments(version));
          putAway(loaded.policies);
          expect(unpacked(loaded)).toEqual(loadDocuments(version));
        }
      }),
      { numRuns: runs(60) },
    );
  });

  test("packed policies with every field of a rule, and one subject for those that select alike", () => {
    const everything = readFileSync(
      join(import.meta.dirname, "../../../examples/two-apps/policies/10-app1.yaml"),
      "utf8",
    );
    const subject = "  subject: { podSelector: { matchExpressions: [{ key: app, operator: In, values: [x, y] }] } }\n";
    const fields = [
      "cidrs: [10.0.0.0/8, '2001:db8::/32', '::/0']\n          except: [10.1.0.0/16]",
      "domains: ['*', '*.b.example']\n          ports: [{ protocol: UDP, port: 1, endPort: 9 }, { protocol: Any }]",
      "domains: [c.example]\n          http: { methods: [GET], paths: [{ regex: '/a\"\\.b' }, { suffix: /c }] }",
      "group: g\n          tls: { required: true, encryptedClientHello: Deny }",
    ].map((field, i) => policy(`p${i}`, subject + rule(field)));
    const version = [
      { path: "f", text: fields.join("---\n") },
      { path: "g", text: everything },
    ];
    const { policies, problems } = new DocumentReader(false, TEXT_PACKER).load(version);
    expect(problems).toEqual([]);
    putAway(policies);
    for (const [index, one] of loadDocuments(version).policies.entries()) {
      expect(policies[index]!.rules).toEqual(one.rules);
      expect(policies[index]!.subject).toEqual(one.subject);
    }
    expect(new Set(policies.slice(0, fields.length).map((one) => one.subject)).size).toBe(1);
  });

  test("hundreds of packed policies keep their own rules, whatever is read and put away in between", () => {
    const version = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => policy(`p${from + i}`, rule(`cidrs: [10.0.${from + i}.0/24]`)));
    const reader = new DocumentReader(false, TEXT_PACKER);
    const first = reader.load([{ path: "f", text: version(0, 150).join("---\n") }]).policies;
    putAway(first.slice(0, 100));
    const second = reader.load([
      { path: "f", text: [...version(200, 210), ...version(0, 150)].join("---\n") },
    ]).policies;
    putAway(second);
    const third = reader.load([
      { path: "f", text: version(0, 150).join("---\n") },
      { path: "g", text: version(220, 225).join("---\n") },
    ]).policies;
    for (const one of [...first, ...second, ...third]) {
      expect(one.rules).toMatchObject([
        { to: [{ cidrs: [{ base: { w3: 0x0a000000 + Number(one.name.slice(1)) * 256 } }] }] },
      ]);
    }
    expect(third.slice(0, 150)).toEqual(first);
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
