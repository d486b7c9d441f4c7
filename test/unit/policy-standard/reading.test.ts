import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { decide } from "../../../src/decide/decide.ts";
import type { StandardKind } from "../../../src/model/policy.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";
import { formatProblem } from "../../../src/policy/problem.ts";
import { readStandardPolicy } from "../../../src/policy/standard/reading.ts";
import { address, compileScene, facts, policy, rule, workload } from "../../support/cases.ts";

const WEB = workload(1, "team/web", { labels: { app: "web" }, namespaceLabels: { team: "a" } });
const JOB = workload(2, "team/job", { labels: { app: "job" }, namespaceLabels: { team: "a" } });

function read(kind: StandardKind, spec: string) {
  const own = kind === "NetworkPolicy" ? { namespace: "team" } : {};
  const metadata = { name: "p", uid: "u", resourceVersion: "1", aFieldOfTomorrow: true, ...own };
  return readStandardPolicy(kind, { metadata, spec: parse(`{ ${spec} }`) as object });
}

/** What becomes of a connection to 203.0.113.7:443, for a pod that the policy's labels mean, and one that they do not. */
function outcome(kind: StandardKind, spec: string) {
  const { value, flaw } = read(kind, spec);
  const program = compileScene({ policies: value === null ? [] : [value], workloads: [WEB, JOB] });
  const of = (id: number) =>
    decide(program, program.classOf(id), facts({ address: address("203.0.113.7") }), "enforce")?.action;
  return { web: of(WEB.id), job: of(JOB.id), reason: flaw?.reason ?? null };
}

const np = (rules: string, more = "") => `podSelector: { matchLabels: { app: web } }, egress: [${rules}]${more}`;
const ALL = "{ to: [{ ipBlock: { cidr: 0.0.0.0/0 } }] }";
const cnp = (rules: string, more = "") =>
  `tier: Admin, priority: 5, subject: { pods: { podSelector: { matchLabels: { app: web } } } }, egress: [${rules}]${more}`;
const to = (action: string, peers: string) => `{ action: ${action}, to: [${peers}] }`;
const NET = "{ networks: [203.0.113.0/24] }";

describe("what is not understood never helps a flow", () => {
  const rows: readonly [
    what: string,
    kind: StandardKind,
    spec: string,
    web: "Allow" | "Deny",
    job: "Allow" | "Deny",
    reason: string | null,
  ][] = [
    ["nothing", "NetworkPolicy", np(ALL), "Allow", "Allow", null],
    ["a field of a rule", "NetworkPolicy", np("{ new: 1 }"), "Deny", "Allow", "UnknownField"],
    ["another rule", "NetworkPolicy", np(`{ new: 1 }, ${ALL}`), "Allow", "Allow", "UnknownField"],
    ["a field of a peer", "NetworkPolicy", np("{ to: [{ nodes: {} }] }"), "Deny", "Allow", "UnknownField"],
    ["a peer without a field", "NetworkPolicy", np("{ to: [{}] }"), "Deny", "Allow", "Invalid"],
    [
      "a field of a block",
      "NetworkPolicy",
      np("{ to: [{ ipBlock: { cidr: 0.0.0.0/0, at: 1 } }] }"),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "an exception",
      "NetworkPolicy",
      np("{ to: [{ ipBlock: { cidr: 0.0.0.0/0, except: [x] } }] }"),
      "Deny",
      "Allow",
      "Invalid",
    ],
    ["a protocol", "NetworkPolicy", np("{ ports: [{ protocol: QUIC }] }"), "Deny", "Allow", "Invalid"],
    ["a field of the policy", "NetworkPolicy", np(ALL, ", new: 1"), "Deny", "Allow", "UnknownField"],
    ["a type", "NetworkPolicy", `podSelector: {}, policyTypes: [Ingres]`, "Deny", "Deny", "Invalid"],
    [
      "a field of the selector",
      "NetworkPolicy",
      `podSelector: { matchLabels: { app: web }, matchNames: [a] }, egress: [${ALL}]`,
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "an operator",
      "NetworkPolicy",
      `podSelector: { matchExpressions: [{ key: app, operator: Like }] }, egress: [${ALL}]`,
      "Deny",
      "Deny",
      "Invalid",
    ],
    ["no list of rules", "NetworkPolicy", "podSelector: {}, egress: 1", "Deny", "Deny", "Invalid"],
    ["nothing", "ClusterNetworkPolicy", cnp(to("Deny", NET)), "Deny", "Allow", null],
    [
      "a field of an Accept",
      "ClusterNetworkPolicy",
      cnp(`{ action: Accept, to: [${NET}], at: 1 }, ${to("Deny", NET)}`),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "a field of a Deny",
      "ClusterNetworkPolicy",
      cnp("{ action: Deny, to: [{ networks: [192.0.2.0/24] }], at: 1 }"),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "a field of a Pass",
      "ClusterNetworkPolicy",
      cnp(`{ action: Pass, to: [${NET}], at: 1 }`),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    ["an action", "ClusterNetworkPolicy", cnp(to("Log", "{ networks: [192.0.2.0/24] }")), "Deny", "Allow", "Invalid"],
    [
      "a peer of an Accept",
      "ClusterNetworkPolicy",
      cnp(`${to("Accept", "{ fqdn: a }")}, ${to("Deny", NET)}`),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    ["a peer of a Deny", "ClusterNetworkPolicy", cnp(to("Deny", "{}")), "Deny", "Allow", "Invalid"],
    [
      "nodes in an Accept",
      "ClusterNetworkPolicy",
      cnp(`${to("Accept", "{ nodes: {} }")}, ${to("Deny", NET)}`),
      "Deny",
      "Allow",
      "NotSupported",
    ],
    ["nodes in a Deny", "ClusterNetworkPolicy", cnp(to("Deny", "{ nodes: {} }")), "Deny", "Allow", "NotSupported"],
    [
      "names in a Deny",
      "ClusterNetworkPolicy",
      cnp(to("Deny", "{ domainNames: [a.example] }")),
      "Deny",
      "Allow",
      "Invalid",
    ],
    [
      "a named port outside",
      "ClusterNetworkPolicy",
      cnp(`{ action: Deny, to: [{ networks: [192.0.2.0/24] }], protocols: [{ destinationNamedPort: web }] }`),
      "Deny",
      "Allow",
      "Invalid",
    ],
    [
      "a protocol",
      "ClusterNetworkPolicy",
      cnp(`{ action: Deny, to: [{ networks: [192.0.2.0/24] }], protocols: [{ icmp: {} }] }`),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "a field of the policy",
      "ClusterNetworkPolicy",
      cnp(to("Deny", "{ networks: [192.0.2.0/24] }"), ", mode: x"),
      "Deny",
      "Allow",
      "UnknownField",
    ],
    [
      "a subject, of a Deny",
      "ClusterNetworkPolicy",
      `tier: Admin, priority: 5, subject: { accounts: [a] }, egress: [${to("Deny", NET)}]`,
      "Deny",
      "Deny",
      "UnknownField",
    ],
    [
      "a subject, of an Accept",
      "ClusterNetworkPolicy",
      `tier: Admin, priority: 5, subject: { pods: { podSelector: {}, at: 1 } }, egress: [${to("Accept", NET)}, ${to("Deny", NET)}]`,
      "Deny",
      "Deny",
      "UnknownField",
    ],
  ];
  test.each(rows)("%s, in a %s", (_, kind, spec, web, job, reason) => {
    expect(outcome(kind, spec)).toEqual({ web, job, reason });
  });

  test.each(["NetworkPolicy", "ClusterNetworkPolicy"] as const)("no object at all, as a %s", (kind) => {
    for (const object of [null, 1, "x", [], {}]) expect(readStandardPolicy(kind, object).flaw).not.toBeNull();
    for (const object of [{ spec: 1 }, { spec: { egress: {} }, metadata: 1 }]) {
      const { value, flaw } = readStandardPolicy(kind, object);
      expect(flaw).not.toBeNull();
      const program = compileScene({ policies: [{ ...value!, namespace: null }], workloads: [WEB] });
      expect(decide(program, program.classOf(1), facts(), "enforce")?.action).toBe("Deny");
    }
  });

  test("a tier or priority that cannot be read comes first", () => {
    const { value } = read("ClusterNetworkPolicy", cnp("").replace("Admin", "Middle").replace("5", "many"));
    expect(value).toMatchObject({ tier: "StandardAdmin", priority: 0 });
  });
});

describe("what it says of itself", () => {
  test("nothing leaves by a policy without egress", () => {
    const none = ["podSelector: {}", "podSelector: {}, policyTypes: [Ingress]", "podSelector: {}, egress: []"];
    for (const spec of none) expect(read("NetworkPolicy", spec).value).toBeNull();
    expect(read("ClusterNetworkPolicy", cnp("", ", ingress: [{ anything: 1 }]")).value).toBeNull();
  });

  test("which rules have peers inside the cluster", () => {
    const rules = `${ALL}, { to: [{ podSelector: {} }] }, { to: [{ ipBlock: { cidr: 1.0.0.0/8 } }, { namespaceSelector: {} }] }, {}`;
    expect(read("NetworkPolicy", np(rules)).inside).toEqual(["egress[1]", "egress[2]"]);
    expect(
      read("ClusterNetworkPolicy", cnp(`${to("Deny", NET)}, { name: in, action: Deny, to: [{ namespaces: {} }] }`))
        .inside,
    ).toEqual(["egress[1] in"]);
  });
});

describe("documents", () => {
  const HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: p, namespace: team }\n";
  const CONFIG =
    "apiVersion: sallyport.dev/v1alpha1\nkind: AgentConfig\nmetadata: { name: default }\nspec: { resolvers: [10.96.0.10], podCIDRs: [10.244.0.0/24], clusterCIDRs: [10.244.0.0/16], sources: [NetworkPolicy] }\n";
  const load = (...texts: string[]) => {
    const loaded = loadDocuments([{ path: "f", text: texts.join("---\n") }]);
    return { count: loaded.policies.length, problems: loaded.problems.map(formatProblem) };
  };

  test("are read where the AgentConfig lists their kind", () => {
    expect(load(`${HEAD}spec: { podSelector: {}, egress: [{}] }\n`, CONFIG)).toEqual({ count: 1, problems: [] });
  });

  test("are said to be left out where it does not, whatever is wrong with them", () => {
    const message =
      "f:2:7: warning: a NetworkPolicy is not read, for `sources` of the AgentConfig does not list it: add `NetworkPolicy` there to enforce it";
    expect(load(`${HEAD}spec: 1\n`)).toEqual({ count: 0, problems: [message] });
  });

  test("are judged with the others", () => {
    const text = `${HEAD}spec: { podSelector: {}, egress: [{ to: [{ ipBlock: { cidr: 10.0.0.0/8, except: [11.0.0.0/9] } }], ports: [{ endPort: 3 }] }] }\n`;
    expect(load(text, text.replace("spec:", "spec: # "), CONFIG).problems).toEqual([
      "f:4:82: `11.0.0.0/9` is no part of `10.0.0.0/8`: take it out",
      "f:4:119: `endPort` needs the first port as a number in `port`",
      "f:8:19: `NetworkPolicy/team/p` is already at f:3:19: rename or remove one",
      "f:9:1: `spec` has no value: give it a map of fields, or leave it out",
    ]);
  });

  test("of another version are refused", () => {
    const text = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: { name: p }\n";
    const said = load(text, CONFIG.replace("NetworkPolicy", "ClusterNetworkPolicy")).problems;
    expect(said).toContain(
      "f:1:13: `apiVersion` must be `policy.networking.k8s.io/v1alpha2`, not `policy.networking.k8s.io/v1alpha1`: did you mean `policy.networking.k8s.io/v1alpha2`?",
    );
  });
});

describe("what people with few rights can fill", () => {
  const ports = (count: number) => Array.from({ length: count }, (_, i) => `{ port: ${i + 1} }`).join(", ");
  const blocks = (count: number) =>
    Array.from({ length: count }, (_, i) => `{ ipBlock: { cidr: 203.0.${i % 256}.0/24 } }`).join(", ");

  test.each([
    ["rules", `podSelector: {}, egress: [${Array(513).fill(ALL).join(", ")}]`],
    ["peers", `podSelector: {}, egress: [{ to: [${blocks(1025)}] }]`],
    ["ports", `podSelector: {}, egress: [{ ports: [${ports(257)}] }]`],
    [
      "pairs",
      `podSelector: {}, egress: [${Array(2)
        .fill(`{ to: [${blocks(100)}], ports: [${ports(100)}] }`)
        .join(", ")}]`,
    ],
  ])("too many %s of a policy accept nothing", (_, spec) => {
    expect(outcome("NetworkPolicy", spec)).toEqual({ web: "Deny", job: "Deny", reason: "Invalid" });
  });

  test("policies of a pod beyond a bound accept nothing, and the denial says so", () => {
    const heavy = `podSelector: {}, egress: [{ ports: [${ports(250)}] }]`;
    const policies = Array.from({ length: 200 }, (_, i) => {
      const last = i === 199 ? `podSelector: {}, egress: [${ALL}]` : heavy;
      return { ...read("NetworkPolicy", last).value!, name: `p${String(i).padStart(3, "0")}` };
    });
    const program = compileScene({ policies, workloads: [WEB] });
    const of = (port: number) => decide(program, program.classOf(1), facts({ port }), "enforce");
    expect(of(200)).toMatchObject({ action: "Allow", policy: "NetworkPolicy/team/p000" });
    expect(of(443)).toMatchObject({ action: "Deny", rule: "default-deny-too-many-rules" });
  });
});

test("a policy of Sallyport's own decides with them, and cannot be opened by them", () => {
  const own = policy("own", [rule("one", "Allow", { cidrs: ["203.0.113.7/32"] })]);
  const { value } = read("NetworkPolicy", `podSelector: {}, egress: [${ALL}]`);
  const program = compileScene({ policies: [own, value!], workloads: [WEB] });
  const of = (text: string) => decide(program, program.classOf(1), facts({ address: address(text) }), "enforce");
  expect(of("203.0.113.7")).toMatchObject({ action: "Allow", policy: "ClusterEgressPolicy/own" });
  expect(of("203.0.113.8")).toMatchObject({ action: "Deny", reason: "DefaultDeny" });
});
