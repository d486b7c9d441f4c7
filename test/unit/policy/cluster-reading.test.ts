import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { destinationFromUrl } from "../../../src/decide/destination.ts";
import { explainDestination } from "../../../src/decide/explain.ts";
import type { DestinationGroup, OwnPolicyKind, Policy } from "../../../src/model/policy.ts";
import { readClusterConfig, readClusterGroup, readClusterPolicy } from "../../../src/policy/cluster-reading.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import {
  allow,
  allowed,
  compileScene,
  decideCase,
  denied,
  deny,
  type Expected,
  workload,
} from "../../support/cases.ts";
import { POLICY_CASES } from "../../support/policy-cases.ts";
import { runs } from "../../support/runs.ts";

type Document = Record<string, unknown>;

const cluster = (spec: string, name = "p"): Document => ({
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "ClusterEgressPolicy",
  metadata: { name, uid: "u", resourceVersion: "1", aFieldOfTomorrow: true },
  spec: { tier: "Admin", defaultDeny: true, ...(parse(`{ ${spec} }`) as object) },
});

const read = (document: Document) => readClusterPolicy(document["kind"] as OwnPolicyKind, document);
const WORKLOADS = [
  workload(1, "team/web", { labels: { app: "web" }, namespaceLabels: { team: "a" }, serviceAccount: "web" }),
  workload(2, "team/job", { labels: { app: "job" }, namespaceLabels: { team: "a" }, serviceAccount: "job" }),
  workload(3, "kube-system/dns", { labels: { app: "dns" } }),
];

/** Of each pod in turn, each destination. */
function decideAll(
  policies: readonly Policy[],
  froms: string | readonly string[],
  tos: readonly string[],
  groups: readonly DestinationGroup[] = [],
) {
  const scene = { policies, groups, workloads: WORKLOADS };
  const program = compileScene(scene);
  return [froms]
    .flat()
    .flatMap((from) => tos.map((to) => decideCase(scene, program, { from, to, expect: { action: "Allow" } })));
}

const A = "https://a.test/";
const B = "https://b.test/";
const p = "ClusterEgressPolicy/p";
const allowA = "{ name: ok, action: Allow, to: [{ domains: [a.test], ports: [{ port: 443 }] }] }";

describe("a field that is not known", () => {
  const rows: readonly { where: string; spec: string; from?: string; to: string; expect: Expected; reason?: string }[] =
    [
      {
        where: "in an entry of an Allow: it matches nothing",
        spec: "rules: [{ name: r, action: Allow, to: [{ domains: [a.test], sni: x }] }]",
        to: A,
        expect: denied(),
      },
      {
        where: "in one entry of an Allow: the others match nothing either",
        spec: "rules: [{ name: r, action: Allow, to: [{ domains: [a.test], ports: [{ port: 443 }] }, { domains: [b.test], sni: x }] }]",
        to: A,
        expect: denied(),
      },
      {
        where: "in an Allow: the rules beside it hold",
        spec: `rules: [{ name: r, action: Allow, when: night }, ${allowA}]`,
        to: A,
        expect: allow(p, "ok"),
      },
      {
        where: "in a port of an Allow",
        spec: "rules: [{ name: r, action: Allow, to: [{ ports: [{ port: 443, mptcp: true }] }] }]",
        to: A,
        expect: denied(),
      },
      {
        where: "in an Allow of a name: DNS does not open it",
        spec: "rules: [{ name: r, action: Allow, to: [{ domains: [a.test], sni: x }] }]",
        to: "dns://a.test",
        expect: denied(),
      },
      {
        where: "in a Deny: it denies everything",
        spec: `rules: [{ name: r, action: Deny, to: [{ domains: [b.test], sni: x }] }, ${allowA}]`,
        to: A,
        expect: deny(p, "r"),
      },
      {
        where: "in a Deny: names too",
        spec: `rules: [{ name: r, action: Deny, to: [{ cidrs: [192.0.2.0/24], asn: 1 }] }, ${allowA}]`,
        to: "dns://a.test",
        expect: deny(p, "r"),
      },
      {
        where: "in a Deny that goes on when names are hidden",
        spec: "defaultDeny: false, rules: [{ name: r, action: Deny, whenHidden: Continue, to: [{ domains: [b.test], sni: x }] }]",
        to: "https://203.0.113.7/",
        expect: deny(p, "r"),
      },
      {
        where: "in a Deny of a guardrail",
        spec: "defaultDeny: false, rules: [{ name: r, action: Deny, log: true }]",
        to: A,
        expect: deny(p, "r"),
      },
      {
        where: "in a Next: the Allow below it might be skipped, so it matches nothing",
        spec: `rules: [{ name: r, action: Next, to: [{ ports: [{ port: 443 }], sni: x }] }, ${allowA}]`,
        to: A,
        expect: denied(),
      },
      {
        where: "in a Next: a Deny below it holds",
        spec: "rules: [{ name: r, action: Next, x: 1 }, { name: no, action: Deny, to: [{ domains: [a.test] }] }]",
        to: A,
        expect: deny(p, "no"),
      },
      {
        where: "in a Next: an Allow above it holds",
        spec: `rules: [${allowA}, { name: r, action: Next, x: 1 }]`,
        to: A,
        expect: allow(p, "ok"),
      },
      {
        where: "in a Pass: it denies everything",
        spec: `rules: [{ name: r, action: Pass, to: [{ domains: [b.test], sni: x }] }, ${allowA}]`,
        to: A,
        expect: deny(p, "r"),
      },
      {
        where: "in the policy: its Allow matches nothing",
        spec: `schedule: night, rules: [${allowA}]`,
        to: A,
        expect: denied(),
      },
      {
        where: "in the policy: its Deny denies everything",
        spec: "schedule: night, defaultDeny: false, rules: [{ name: r, action: Deny, to: [{ domains: [b.test] }] }]",
        to: A,
        expect: deny(p, "r"),
      },
      {
        where: "in the subject: its Allow matches nothing",
        spec: `subject: { nodes: [a], podSelector: { matchLabels: { app: web } } }, rules: [${allowA}]`,
        to: A,
        expect: denied(),
      },
      {
        where: "in the subject: its Deny holds for whom it may select, as it is written",
        spec: "defaultDeny: false, subject: { nodes: [a] }, rules: [{ name: r, action: Deny, to: [{ domains: [b.test] }] }]",
        to: B,
        expect: deny(p, "r"),
      },
      {
        where: "in the subject: what its Deny does not name is not denied",
        spec: "defaultDeny: false, subject: { nodes: [a] }, rules: [{ name: r, action: Deny, to: [{ domains: [b.test] }] }]",
        to: A,
        expect: allowed("NotIsolated"),
      },
      {
        where: "in the subject: what is understood of it still selects",
        spec: "subject: { nodes: [a], podSelector: { matchLabels: { app: job } } }",
        to: A,
        expect: allowed("NotIsolated"),
      },
      {
        where: "in the subject: a Pass of it denies what it names",
        spec: "subject: { nodes: [a] }, defaultDeny: false, rules: [{ name: r, action: Pass, to: [{ domains: [a.test] }] }]",
        to: A,
        expect: deny(p, "r"),
      },
      {
        where: "in the subject: system namespaces are not skipped",
        spec: "subject: { nodes: [a] }",
        from: "kube-system/dns",
        to: A,
        expect: denied(),
      },
      {
        where: "in a selector: the requirement is left out, so more pods are selected",
        spec: "subject: { podSelector: { matchExpressions: [{ key: app, operator: In, values: [job], fold: true }] } }",
        to: A,
        expect: denied(),
      },
    ];
  test.each(rows)("$where", ({ spec, from = "team/web", to, expect: expected }) => {
    const { value, flaw } = read(cluster(spec));
    expect(flaw?.reason).toBe("UnknownField");
    expect(decideAll([value], from, [to])[0]).toMatchObject(expected);
  });

  test("in a group: it counts as one that is not there", () => {
    const group = (spec: string) => readClusterGroup({ metadata: { name: "g" }, spec: parse(spec) });
    expect(group("{ domains: [a.test] }").value).not.toBeNull();
    const { value, flaw } = group("{ domains: [a.test], asns: [1] }");
    expect([value, flaw?.reason]).toEqual([null, "UnknownField"]);
    const rule = (action: string) => read(cluster(`rules: [{ name: r, action: ${action}, to: [{ group: g }] }]`)).value;
    expect(decideAll([rule("Allow")], "team/web", [A])[0]).toMatchObject(denied());
    expect(decideAll([rule("Deny")], "team/web", [B])[0]).toMatchObject(deny(p, "r"));
  });

  test("in `metadata` or `status`: nobody minds", () => {
    const document = { ...cluster(`rules: [${allowA}]`), status: { tomorrow: 1 } };
    expect(read(document).flaw).toBeNull();
  });

  test("beside `spec`: as in the policy", () => {
    const { value, flaw } = read({ ...cluster(`rules: [${allowA}]`), exceptions: [] });
    expect(flaw).toEqual({
      reason: "UnknownField",
      message: expect.stringContaining("exceptions: unknown field `exceptions`"),
    });
    expect(decideAll([value], "team/web", [A])[0]).toMatchObject(denied());
  });

  test.each([A, "dns://a.test"])("explain of %s says why a rule matches nothing", (to) => {
    const { value } = read(cluster("rules: [{ name: r, action: Allow, to: [{ domains: [a.test], sni: x }] }]"));
    const program = compileScene({ policies: [value], workloads: WORKLOADS });
    const where = destinationFromUrl(to);
    if (where.kind === "problem") throw new Error(where.problem);
    const { steps } = explainDestination(program, program.classOf(1), where);
    expect(steps.map(({ rule, why }) => `${rule}: ${why}`)).toEqual([
      "r: part of it is not understood, so it matches nothing",
    ]);
  });

  test("is said with its place", () => {
    const { flaw } = read(cluster("rules: [{ name: r, action: Allow, to: [{}, { sni: a.test }] }]"));
    expect(flaw!.message).toMatch(/^spec\.rules\[0\]\.to\[1\]\.sni: unknown field `sni` in `to`: /);
  });
});

describe("a value that is not known", () => {
  test.each([
    ["an action denies everything", `rules: [{ name: r, action: Log }, ${allowA}]`, A, deny(p, "r")],
    [
      "a protocol in an Allow",
      "rules: [{ name: r, action: Allow, to: [{ ports: [{ protocol: QUIC }] }] }]",
      A,
      denied(),
    ],
    ["a mode enforces", "mode: Warn", A, denied()],
    ["a tier is the first", "tier: Emergency, defaultDeny: false, rules: [{ name: r, action: Deny }]", A, deny(p, "r")],
    ["a default deny denies", "defaultDeny: Sometimes", A, denied()],
    ["rules that are no list", "rules: { all: Allow }, defaultDeny: false", A, deny(p, "unreadable")],
    ["a rule that is no map", `rules: [x, ${allowA}]`, A, deny(p, "rule-1")],
    ["no value, in an Allow", "rules: [{ name: r, action: Allow, to: null }]", A, denied()],
    [
      "an expression that does not compile, in a Deny",
      "rules: [{ name: r, action: Deny, to: [{ http: { paths: [{ regex: '(' }] } }] }]",
      A,
      deny(p, "r"),
    ],
  ])("%s", (_, spec, to, expected) => {
    const { value, flaw } = read(cluster(spec));
    expect(flaw?.reason).toBe("Invalid");
    expect(decideAll([value], "team/web", [to])[0]).toMatchObject(expected);
  });

  test("an operator of a selector: the requirement is left out", () => {
    const { value } = read(
      cluster(
        "subject: { podSelector: { matchLabels: { app: web }, matchExpressions: [{ key: x, operator: Like, values: [y] }] } }",
      ),
    );
    expect(decideAll([value], "team/web", [A])[0]).toMatchObject(denied());
    expect(decideAll([value], "team/job", [A])[0]).toMatchObject(allowed("NotIsolated"));
  });
});

describe("a configuration", () => {
  const config = (spec: string) => readClusterConfig({ metadata: { name: "default" }, spec: parse(spec) });

  test("may leave to the agent what differs from node to node", () => {
    const { value, flaw } = config("{ clusterCIDRs: [10.244.0.0/16] }");
    expect(flaw).toBeNull();
    expect(value).toMatchObject({ resolvers: null, agentResolvers: null, podCIDRs: null, failMode: "Closed" });
  });

  test("with a list that is empty means it", () => {
    expect(config("{ clusterCIDRs: [] }").value).toMatchObject({ clusterCIDRs: [], internalEndpoints: null });
  });

  test("that is not there is all defaults", () => {
    expect(readClusterConfig(null).value).toEqual(config("{}").value);
  });

  test("with a field that is not known is read without it, and that is said", () => {
    const { value, flaw } = config("{ failMode: Open, limits: { heldPackets: 5, heldBytes: 1 }, extra: 1 }");
    expect(value).toMatchObject({ failMode: "Open", limits: { heldPackets: 5, bindings: 4096 } });
    expect(flaw).toMatchObject({ reason: "UnknownField", message: expect.stringContaining("limits.heldBytes") });
  });

  test("with a value that is not known is not used", () => {
    expect(config("{ failMode: HalfOpen }")).toMatchObject({ value: null, flaw: { reason: "Invalid" } });
  });
});

test.each(POLICY_CASES.filter(({ becomes, text }) => becomes === "accepted" && text.includes("EgressPolicy")))(
  "what files accept is read the same: $check",
  ({ text }) => {
    const document = parse(text) as Document;
    const { value, flaw } = read(document);
    expect(flaw).toBeNull();
    expect(value).toEqual(loadDocuments([{ path: "f", text }]).policies[0]);
  },
);

interface Spec {
  readonly tier: string;
  readonly defaultDeny: boolean;
  readonly app: string | null;
  readonly rules: readonly { readonly action: string; readonly to: readonly string[] | null }[];
}

describe("whatever the field means", () => {
  const entry = fc.constantFrom(
    "{ domains: [a.test] }",
    "{ domains: ['*'], ports: [{ port: 443 }] }",
    "{ cidrs: [203.0.113.0/24] }",
    "{ ports: [{ protocol: UDP }] }",
    "{}",
  );
  const rule = fc.record({
    action: fc.constantFrom("Allow", "Deny", "Next", "Pass"),
    to: fc.option(fc.array(entry, { minLength: 1, maxLength: 2 })),
  });
  const policy: fc.Arbitrary<Spec> = fc.record({
    tier: fc.constantFrom("Admin", "Baseline"),
    defaultDeny: fc.boolean(),
    app: fc.constantFrom("web", "job", null),
    rules: fc.array(rule, { maxLength: 3 }),
  });
  const spec = ({ tier, defaultDeny, app, rules }: Spec, strange: { rule?: number; subject?: true }) => {
    const text = rules.map(({ action, to }, i) => {
      const fields = `name: r${i}, action: ${action}${to === null ? "" : `, to: [${to.join(", ")}]`}`;
      return `{ ${fields}${strange.rule === i ? ", tomorrow: 1" : ""} }`;
    });
    const selector = app === null ? "" : `podSelector: { matchLabels: { app: ${app} } }`;
    const subject = [selector, strange.subject ? "tomorrow: 1" : ""].filter((part) => part !== "").join(", ");
    return `tier: ${tier}, defaultDeny: ${defaultDeny}, subject: { ${subject} }, rules: [${text.join(", ")}]`;
  };
  const tos = [
    A,
    B,
    "https://203.0.113.7/",
    "tcp://203.0.113.7:22",
    "udp://192.0.2.1:99",
    "dns://a.test",
    "dns://b.test",
  ];
  const all = (policies: readonly Spec[], strange: (index: number) => { rule?: number; subject?: true } = () => ({})) =>
    policies.map((one, index) => read(cluster(spec(one, strange(index)), `p${index}`)).value);
  const actions = (policies: readonly Policy[]) =>
    decideAll(policies, ["team/web", "kube-system/dns"], tos).map(({ action }) => action);

  /** What is let through although a field is not known is let through by every meaning that it could have. */
  function neverLooser(read: readonly Policy[], meanings: readonly (readonly Policy[])[]): void {
    const now = actions(read);
    for (const meaning of meanings) {
      for (const [index, action] of actions(meaning).entries()) {
        if (now[index] === "Allow") expect(action, `${index}: ${stringify(meaning)}`).toBe("Allow");
      }
    }
  }

  test("in a rule: no flow is let through that it might deny", () => {
    fc.assert(
      fc.property(fc.array(policy, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(), (policies, a, b) => {
        const at = a % policies.length;
        const chosen = policies[at]!;
        if (chosen.rules.length === 0) return;
        const rule = b % chosen.rules.length;
        const withRules = (rules: Spec["rules"]) => all(policies.with(at, { ...chosen, rules }));
        const means = (to: string[] | null) => withRules(chosen.rules.with(rule, { ...chosen.rules[rule]!, to }));
        neverLooser(
          all(policies, (index) => (index === at ? { rule } : {})),
          [
            all(policies),
            withRules(chosen.rules.toSpliced(rule, 1)),
            means(null),
            means(["{ domains: [b.test] }"]),
            means(["{ cidrs: [192.0.2.0/24] }"]),
          ],
        );
      }),
      { numRuns: runs(100) },
    );
  });

  test("in a subject: no flow is let through that it might deny", () => {
    fc.assert(
      fc.property(fc.array(policy, { minLength: 1, maxLength: 3 }), fc.nat(), (policies, a) => {
        const at = a % policies.length;
        const meanings = [all(policies), all(policies.with(at, { ...policies[at]!, app: "nobody" }))];
        neverLooser(
          all(policies, (index) => (index === at ? { subject: true } : {})),
          meanings,
        );
      }),
      { numRuns: runs(100) },
    );
  });

  test("whatever the document is, a policy comes out, and a flaw with one that files refuse", () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4 }),
        fc.constantFrom("spec", "rules", "rule", "to", "subject", "selector"),
        (value, place) => {
          const strange = JSON.stringify(value);
          const specs: Record<string, unknown> = {
            spec: value,
            rules: { tier: "Admin", defaultDeny: true, rules: value },
            rule: { tier: "Admin", defaultDeny: true, rules: [value, { name: "rule-1", action: "Allow" }] },
            to: { tier: "Admin", defaultDeny: true, rules: [{ name: "r", action: "Deny", to: value }] },
            subject: { tier: "Admin", defaultDeny: true, subject: value },
            selector: {
              tier: "Admin",
              defaultDeny: true,
              subject: { podSelector: value, namespaceSelector: value, serviceAccounts: value },
            },
          };
          const document = { ...cluster(""), spec: specs[place] };
          const { value: policy, flaw } = read(document);
          expect(policy.name, strange).toBe("p");
          expect(policy.rules[0]?.name === "unreadable" && place !== "rules" && place !== "spec", strange).toBe(false);
          compileScene({ policies: [policy], workloads: WORKLOADS });
          const text = JSON.stringify({ ...document, metadata: { name: "p" } });
          const refused = loadDocuments([{ path: "f", text }]).problems.some(({ severity }) => severity === "error");
          expect(flaw !== null, strange).toBe(refused);
        },
      ),
      { numRuns: runs(300) },
    );
  });
});
