import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../src/net/address.ts";
import { formatCidr } from "../../../src/net/cidr.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { formatProblem } from "../../../src/policy/problem.ts";
import { runs } from "../../support/runs.ts";
import { clusterPolicy, problemsOf, withDestination } from "./documents-of.ts";

const examples = new URL("../../../examples/two-apps/policies/", import.meta.url);

function load(text: string) {
  const loaded = loadDocuments([{ path: "f", text }]);
  expect(loaded.problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return loaded;
}

describe("what documents become", () => {
  test("defaults of a cluster policy", () => {
    const [policy] = load(
      clusterPolicy("  tier: Baseline\n  defaultDeny: false\n  rules: [{ name: a, action: Next }]"),
    ).policies;
    expect(policy).toEqual({
      kind: "ClusterEgressPolicy",
      name: "test",
      namespace: null,
      tier: "Baseline",
      priority: 1000,
      mode: "Enforce",
      defaultDeny: false,
      subject: { namespaceSelector: null, podSelector: null, serviceAccounts: null },
      rules: [{ name: "a", action: "Next", to: null, whenHidden: "Deny" }],
    });
  });

  test("defaults of a namespaced policy", () => {
    const text =
      "apiVersion: sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: { name: a, namespace: b }\nspec: { subject: { podSelector: {}, serviceAccounts: [c] } }";
    expect(load(text).policies[0]).toEqual({
      kind: "EgressPolicy",
      name: "a",
      namespace: "b",
      tier: "Namespace",
      priority: 1000,
      mode: "Enforce",
      defaultDeny: true,
      subject: { namespaceSelector: null, podSelector: { requirements: [] }, serviceAccounts: ["c"] },
      rules: [],
    });
  });

  test("one entry of `to`", () => {
    const entry =
      "{ domains: ['*.a.example', '*'], cidrs: [10.0.0.0/8], except: [10.1.0.0/16], group: g, ports: [{}, { port: 5 }, { protocol: UDP, port: 5, endPort: 6 }, { protocol: Any }, { protocol: ICMP }], http: { methods: [GET], paths: [{ suffix: .json }] }, tls: {} }";
    const [to] = load(withDestination(entry)).policies[0]!.rules[0]!.to!;
    expect(to).toMatchObject({
      domains: [{ kind: "below", name: "a.example" }, { kind: "any" }],
      group: "g",
      ports: [
        { protocol: 6, from: 0, to: 65535 },
        { protocol: 6, from: 5, to: 5 },
        { protocol: 17, from: 5, to: 6 },
        { protocol: 0, from: 0, to: 65535 },
        { protocol: 1, from: 0, to: 65535 },
      ],
      http: { methods: ["GET"], paths: [{ kind: "suffix", value: ".json" }] },
      tls: { required: false, encryptedClientHello: "Allow" },
    });
    expect([to!.cidrs, to!.except].map((ranges) => ranges!.map(formatCidr))).toEqual([["10.0.0.0/8"], ["10.1.0.0/16"]]);
  });

  test("an empty entry is every destination", () => {
    const everything = { domains: null, cidrs: null, except: [], group: null, ports: null, http: null, tls: null };
    expect(load(withDestination("{}")).policies[0]!.rules[0]!.to).toEqual([everything]);
  });

  test("labels and expressions become requirements", () => {
    const selector =
      "{ matchLabels: { a: b }, matchExpressions: [{ key: c, operator: NotIn, values: [d, e] }, { key: f, operator: Exists }] }";
    const [policy] = load(
      clusterPolicy(`  tier: Admin\n  defaultDeny: true\n  subject: { namespaceSelector: ${selector} }`),
    ).policies;
    expect(policy!.subject.namespaceSelector!.requirements).toEqual([
      { key: "a", operator: "In", values: ["b"] },
      { key: "c", operator: "NotIn", values: ["d", "e"] },
      { key: "f", operator: "Exists", values: [] },
    ]);
  });

  test("a configuration and its defaults", () => {
    const text =
      "apiVersion: sallyport.dev/v1alpha1\nkind: AgentConfig\nmetadata: { name: a }\nspec: { resolvers: [10.0.0.10], podCIDRs: [10.0.0.0/8], internalEndpoints: [{ address: '::1', port: 6443 }] }";
    const [config] = load(text).configs;
    expect(config).toMatchObject({
      agentResolvers: [parseAddress("10.0.0.10")],
      internalEndpoints: [{ address: parseAddress("::1"), protocol: 6, port: 6443 }],
      clusterCIDRs: [],
      clusterDomain: "cluster.local",
      systemNamespaces: ["kube-system", "sallyport"],
      failMode: "Closed",
      existingFlows: "Adopt",
      dnsDenial: "NXDomain",
      markMask: 0x3f,
      queueNumber: 5100,
      limits: {
        lookingFlows: 4096,
        heldPackets: 64,
        reassemblyBytes: 4194304,
        bindings: 4096,
        pendingQuestions: 512,
        resolutions: 32,
        unknownSourceHold: 2000,
        factsTimeout: 30000,
      },
    });
    expect(load(text.replace("{ resolvers", "{ markMask: '0x3f00', resolvers")).configs[0]!.markMask).toBe(0x3f00);
    expect(load(text.replace("{ resolvers", "{ markMask: 0xfc000000, resolvers")).configs[0]!.markMask).toBe(
      0xfc000000,
    );
  });

  test("objects as the API server prints them, in a List, in JSON", () => {
    const item = {
      apiVersion: "sallyport.dev/v1alpha1",
      kind: "DestinationGroup",
      metadata: {
        name: "g",
        uid: "1",
        resourceVersion: "2",
        generation: 1,
        creationTimestamp: null,
        managedFields: [{ manager: "kubectl" }],
        annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
      },
      spec: { domains: ["a.example"] },
      status: { conditions: [] },
    };
    const text = JSON.stringify({ apiVersion: "v1", kind: "List", metadata: { resourceVersion: "" }, items: [item] });
    expect(load(text).groups).toEqual([
      { name: "g", domains: [{ kind: "exact", name: "a.example" }], cidrs: [], except: [] },
    ]);
  });

  test("anchors and aliases", () => {
    const text = clusterPolicy(
      "  tier: Admin\n  defaultDeny: true\n  rules:\n    - { name: a, action: Allow, to: &to [{ cidrs: [10.0.0.0/8] }] }\n    - { name: b, action: Deny, to: *to }",
    );
    const [a, b] = load(text).policies[0]!.rules;
    expect(b!.to).toEqual(a!.to);
  });

  test("the example is without errors", () => {
    const files = readdirSync(examples).sort();
    const loaded = loadDocuments(files.map((path) => ({ path, text: readFileSync(new URL(path, examples), "utf8") })));
    expect(loaded.policies.map(({ name }) => name)).toEqual(["app1", "app2", "everything-else"]);
    expect(loaded.problems.map(({ code, file }) => `${file} ${code}`)).toEqual(["20-app2.yaml AllowsPort53"]);
  });
});

describe("documents as a whole", () => {
  test.each([
    ["", ["1:1: the file is empty: write a document, or remove the file"]],
    [" \n", ["1:1: the file is empty: write a document, or remove the file"]],
    ["# nothing\n---\n", []],
    ["a", ["1:1: a document must be a map with `apiVersion` and `kind`, not `a`"]],
    [
      "kind: Pod",
      [
        "1:7: unknown kind `Pod`: Sallyport reads `ClusterEgressPolicy`, `EgressPolicy`, `DestinationGroup` or `AgentConfig`",
      ],
    ],
    ["kind: EgressPolicies", ["1:7: unknown kind `EgressPolicies`: did you mean `EgressPolicy`?"]],
    ["kind: EgressPolicy", ["1:1: `apiVersion` is missing: write `apiVersion: sallyport.dev/v1alpha1`"]],
    [
      "a: 1\nkind: EgressPolicy\napiVersion: v1",
      ["3:13: unknown apiVersion `v1`: write `apiVersion: sallyport.dev/v1alpha1`"],
    ],
    [
      "a: 1",
      ["1:1: `kind` is missing: give it `ClusterEgressPolicy`, `EgressPolicy`, `DestinationGroup` or `AgentConfig`"],
    ],
    ["a: 1\nb: 2\na: 3", ["3:1: `a` is given twice: keep one"]],
    ["1: a\n'1': b", ["2:1: `1` is given twice: keep one"]],
    ["a: *b", ["1:4: the alias `*b` has no anchor above it"]],
    ["a: &a [*a]", ["1:8: the alias `*a` lies within its own anchor"]],
    ["[a]: b", ["1:1: a key must be plain text"]],
    ["a: !x y", [expect.stringMatching(/^1:4: not readable as YAML: /)]],
    ["a:\n\t- b", [expect.stringMatching(/^2:1: not readable as YAML: Tabs/)]],
  ])("%j", (text, problems) => {
    expect(problemsOf(text)).toEqual(problems);
  });

  test("a file that breaks off keeps the document before it", () => {
    const loaded = loadDocuments([{ path: "f", text: `${withDestination("{ cidrs: [10.0.0.0/8] }")}---\na: [` }]);
    expect(loaded.policies.length).toBe(1);
    expect(loaded.problems.length).toBeGreaterThan(0);
  });

  test("the same object twice, in two files", () => {
    const text = withDestination("{ cidrs: [192.0.2.0/24] }");
    const { problems } = loadDocuments([
      { path: "b.yaml", text },
      { path: "a.yaml", text: `# later\n${text}` },
    ]);
    expect(problems.map(formatProblem)).toEqual([
      "a.yaml:4:19: `ClusterEgressPolicy/test` is already at b.yaml:3:19: rename or remove one",
    ]);
  });

  test("what else lies in the folder is passed over", () => {
    const pod = "apiVersion: v1\nkind: Pod\n";
    const { problems, policies } = loadDocuments([
      { path: "policy", text: withDestination("{ cidrs: [192.0.2.0/24] }") },
      {
        path: "pods",
        text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [{ apiVersion: "v1", kind: "Pod" }] }),
      },
      { path: "pod", text: `${pod}---\n${pod.replace("Pod", "Secret")}` },
      { path: "test", text: "apiVersion: sallyport.dev/v1alpha1\nkind: EgressTest\n" },
    ]);
    const message = "pods and namespaces are no policies, so they are left out: name their file with `--workloads`";
    expect(policies).toHaveLength(1);
    expect(problems.map(formatProblem)).toEqual([
      expect.stringContaining(`: warning: ${message}`),
      `pod:2:7: warning: ${message}`,
      expect.stringMatching(/^pod:5:7: unknown kind `Secret`/),
    ]);
  });

  test("pods alone are the wrong file", () => {
    expect(problemsOf("apiVersion: v1\nkind: Pod")).toEqual([expect.stringMatching(/^2:7: unknown kind `Pod`/)]);
  });

  test("two configurations", () => {
    const config = (name: string) =>
      `apiVersion: sallyport.dev/v1alpha1\nkind: AgentConfig\nmetadata: { name: ${name} }\nspec: { resolvers: [10.0.0.10], podCIDRs: [10.0.0.0/8], clusterCIDRs: [10.0.0.0/8] }\n`;
    expect(problemsOf(`${config("a")}---\n${config("b")}`)).toEqual([
      "8:19: a second AgentConfig, `AgentConfig/b`: the first is at f:3:19; keep one",
    ]);
  });

  test("all problems of all files at once", () => {
    const { problems } = loadDocuments([
      { path: "a", text: withDestination("{ domain: [x], cidrs: [a], ports: [{ port: 0 }] }") },
      { path: "b", text: "kind: Pod" },
    ]);
    expect(problems.map(({ file, line, code }) => `${file} ${line} ${code}`)).toEqual([
      "a 9 UnknownField",
      "a 9 Check",
      "a 9 Structure",
      "b 1 UnknownKind",
    ]);
  });
});

describe("hostile documents", () => {
  const bounded = (text: string) => {
    const problems = problemsOf(text);
    expect(problems.length).toBeLessThanOrEqual(1001);
    return problems;
  };

  test("aliases that multiply", () => {
    let text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (let level = 1; level < 30; level++)
      text += `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join()}]\n`;
    expect(bounded(text)).toEqual([expect.stringContaining("more than 2000000 values")]);
  });

  test.each(["[", "{a: ", "- ", "? ", "!a "])("nested %s without end", (open) => {
    expect(bounded(open.repeat(20_000)).length).toBeGreaterThan(0);
  });

  test.each(["a: 1\n", "--- 1\n", '"', "&a a: *a\n", "- !x y\n"])("%j many times", (line) => {
    bounded(line.repeat(30_000));
  });

  test("names of the prototype select nothing by accident", () => {
    const text = clusterPolicy("  tier: Admin\n  defaultDeny: true\n  constructor: 1\n  toString: 1");
    expect(bounded(text)).toEqual([
      expect.stringContaining("unknown field `constructor`"),
      expect.stringContaining("unknown field `toString`"),
    ]);
    const labels = "  tier: Admin\n  defaultDeny: true\n  subject: { podSelector: { matchLabels: { __proto__: a } } }";
    expect(bounded(clusterPolicy(labels))).toEqual(["7:44: `__proto__` names no field or label: take it out"]);
  });

  test("messages stay on one line", () => {
    for (const problem of bounded(withDestination('{ domains: ["a\\nb\\e[31m"], "x\\ny": 1 }')))
      expect(problem).not.toMatch(/\p{Cc}/u);
  });

  test("anything is read or refused, never thrown", () => {
    const words = fc.constantFrom(
      ..."apiVersion kind metadata spec rules to domains ports name null ~ 1 true - : [ ] { } & * ! | > ' \" # % @ ` , ? \n".split(
        " ",
      ),
      " ",
      "\n  ",
      "\n- ",
      "EgressPolicy",
      "sallyport.dev/v1alpha1",
      "&a",
      "*a",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ unit: "binary" }),
          fc.array(words).map((all) => all.join(" ")),
          fc.array(words).map((all) => all.join("")),
        ),
        (text) => {
          for (const { line, column, message } of loadDocuments([{ path: "f", text }]).problems) {
            expect(line).toBeGreaterThan(0);
            expect(column).toBeGreaterThan(0);
            expect(message).not.toMatch(/\p{Cc}/u);
          }
        },
      ),
      { numRuns: runs(300) },
    );
  });

  test("a valid document with any value anywhere is read or refused", () => {
    const value = fc.jsonValue({ maxDepth: 2 });
    const fields = ["tier", "priority", "mode", "defaultDeny", "subject", "rules"];
    const spec = fc.record(Object.fromEntries(fields.map((field) => [field, value])), { requiredKeys: [] });
    const entry = fc.record(
      Object.fromEntries(
        ["domains", "cidrs", "except", "group", "ports", "http", "tls"].map((field) => [field, value]),
      ),
      { requiredKeys: [] },
    );
    const rules = fc.array(fc.record({ name: value, action: value, to: fc.array(entry) }, { requiredKeys: [] }));
    fc.assert(
      fc.property(spec, fc.option(rules), (base, list) => {
        const document = {
          apiVersion: "sallyport.dev/v1alpha1",
          kind: "ClusterEgressPolicy",
          metadata: { name: "a" },
          spec: list === null ? base : { ...base, rules: list },
        };
        const loaded = loadDocuments([{ path: "f", text: JSON.stringify(document) }]);
        expect(
          loaded.policies.length + loaded.problems.filter(({ severity }) => severity === "error").length,
        ).toBeGreaterThan(0);
      }),
      { numRuns: runs(40) },
    );
  });
});
