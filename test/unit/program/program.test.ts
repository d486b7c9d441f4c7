import { describe, expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import type { Policy } from "../../../src/model/policy.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { compileProgram } from "../../../src/program/compile.ts";
import { openProgram } from "../../../src/program/program.ts";
import {
  address,
  agentConfig,
  cidr,
  compileScene,
  domain,
  facts,
  group,
  labels,
  policy,
  rule,
  workload,
} from "../../support/cases.ts";

const front = { namespaceSelector: null, podSelector: labels({ app: "front" }), serviceAccounts: null };

function at(program: ReturnType<typeof openProgram>, text: string): number {
  const { w0, w1, w2, w3 } = address(text);
  return program.workloadAt(w0, w1, w2, w3);
}

function compile(policies: readonly Policy[], workloads: readonly Workload[]) {
  return compileProgram({ epoch: 3, policies, groups: [], workloads, config: agentConfig() });
}

describe("workloads and classes", () => {
  const policies = [
    policy("all", [rule("r", "Allow", { domains: ["a.test"] })], { tier: "Baseline" }),
    policy("front", [], { subject: front, defaultDeny: false }),
    policy("trial", [], { subject: front, mode: "Audit" }),
    policy("unused", [rule("r", "Allow", { domains: ["unused.test"] })], { namespace: "nowhere" }),
  ];
  const data = compile(policies, [
    workload(10, "team/a", { labels: { app: "front" }, addresses: [address("10.244.0.1"), address("2001:db8::1")] }),
    workload(20, "team/b", { labels: { app: "front", more: "x" }, addresses: [address("10.244.0.2")] }),
    workload(30, "team/c", { addresses: [address("10.244.0.3"), address("10.244.0.9")] }),
    workload(40, "kube-system/d", { addresses: [address("10.244.0.9"), address("10.244.0.4")] }),
  ]);
  const program = openProgram(data);

  test("an address leads to its workload, in both families", () => {
    expect(program.workloadId(at(program, "10.244.0.1"))).toBe(10);
    expect(program.workloadId(at(program, "2001:db8::1"))).toBe(10);
    expect(program.workloadId(at(program, "10.244.0.3"))).toBe(30);
    expect(at(program, "10.244.0.5")).toBe(-1);
    expect(at(program, "::10.244.0.1")).toBe(-1);
  });

  test("an address that two workloads claim is nobody's", () => {
    expect(at(program, "10.244.0.9")).toBe(-1);
    expect(program.workloadId(at(program, "10.244.0.4"))).toBe(40);
  });

  test("workloads with the same policies share a class", () => {
    expect(program.classOf(10)).toBe(program.classOf(20));
    expect(program.classOf(10)).toBe(program.classOfRow(at(program, "2001:db8::1")));
    expect(program.classOf(10)).not.toBe(program.classOf(30));
    expect(program.classOf(99)).toBe(-1);
    expect([program.classCount, program.workloadCount, program.epoch]).toEqual([3, 4, 3]);
  });

  test("what selects a class", () => {
    const says = (id: number) => {
      const cls = program.classOf(id);
      return [program.selected(cls), program.audited(cls), program.isolated(cls), program.isolated(cls, "all")];
    };
    expect(says(10)).toEqual([true, true, true, true]);
    expect(says(30)).toEqual([true, false, true, true]);
    expect(says(40)).toEqual([false, false, false, false]);
    expect(program.isolated(-1)).toBe(false);
  });

  test("a guardrail selects and does not isolate; an Audit policy isolates for the walk `all` only", () => {
    const own = compileScene({
      policies: [policy("g", [], { defaultDeny: false }), policy("t", [], { mode: "Audit" })],
      workloads: [workload(1, "team/a")],
    });
    expect([own.selected(0), own.isolated(0), own.isolated(0, "all")]).toEqual([true, false, true]);
  });

  test("policies that select nobody are not compiled", () => {
    expect(data.text.policyRefs).toEqual(
      ["ClusterEgressPolicy/trial", "ClusterEgressPolicy/front", "ClusterEgressPolicy/all"].sort(byOrder),
    );
    expect(JSON.stringify(data.text)).not.toContain("unused");
  });

  test("survives a structured clone, as between threads", () => {
    const clone = openProgram(structuredClone(data));
    const known = facts({ names: ["a.test"], application: "TLS", evidence: "a.test", encryptedClientHello: false });
    expect(decide(clone, clone.classOf(30), known, "enforce")).toEqual(
      decide(program, program.classOf(30), known, "enforce"),
    );
    expect(clone.workloadId(at(clone, "10.244.0.2"))).toBe(20);
    expect(data.classes.buffer).toBeInstanceOf(SharedArrayBuffer);
  });
});

/** front and trial are of tier Admin, by name; all is Baseline. */
function byOrder(a: string, b: string): number {
  const order = ["front", "trial", "all"];
  return order.indexOf(a.split("/")[1]!) - order.indexOf(b.split("/")[1]!);
}

describe("inside and resolvers", () => {
  const program = compileScene({
    policies: [],
    workloads: [],
    config: {
      clusterCIDRs: [cidr("10.244.0.0/16"), cidr("10.244.3.0/24"), cidr("fd00::/48")],
      internalEndpoints: [{ address: address("192.0.2.1"), protocol: 6, port: 6443 }],
      resolvers: [address("10.96.0.10"), address("fd00::a")],
    },
  });

  test.each<[string, number, number, boolean]>([
    ["10.244.9.9", 17, 1, true],
    ["10.244.3.1", 6, 1, true],
    ["10.245.0.0", 6, 80, false],
    ["fd00::77", 6, 80, true],
    ["192.0.2.1", 6, 6443, true],
    ["192.0.2.1", 6, 10250, false],
    ["192.0.2.1", 17, 6443, false],
    ["192.0.2.2", 6, 6443, false],
  ])("%s %d %d inside: %s", (text, protocol, port, inside) => {
    expect(program.isInside(address(text), protocol, port)).toBe(inside);
  });

  test("resolvers", () => {
    expect(["10.96.0.10", "fd00::a", "10.96.0.11"].map((text) => program.isResolver(address(text)))).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe("many of everything", () => {
  test("a name and a range in thousands of sets are found by each class as its own", () => {
    const count = 300;
    const policies = Array.from({ length: count }, (_, i) =>
      policy(
        "p",
        [
          rule(
            "r",
            "Allow",
            { domains: ["a.test", `own${i}.test`] },
            { cidrs: ["203.0.113.0/24", `198.51.100.${i % 256}/32`], ports: [`TCP ${1000 + i}`] },
          ),
        ],
        { namespace: `n${i}` },
      ),
    );
    const program = compileScene({ policies, workloads: policies.map((_, i) => workload(i + 1, `n${i}/app`)) });
    for (const i of [0, 7, 299]) {
      const cls = program.classOf(i + 1);
      const says = (name: string) =>
        decide(
          program,
          cls,
          facts({ names: [name], application: "TLS", evidence: name, encryptedClientHello: false, namesFinal: true }),
          "enforce",
        )?.action;
      expect([says("a.test"), says(`own${i}.test`), says(`own${i + 1}.test`)]).toEqual(["Allow", "Allow", "Deny"]);
      expect(decide(program, cls, facts({ port: 1000 + i }), "enforce")?.action).toBe("Allow");
    }
  });

  test("equal sets are one set", () => {
    const policies = ["a", "b"].map((name) =>
      policy(name, [rule("r", "Allow", { domains: ["a.test"] }, { cidrs: ["203.0.113.0/24"] })]),
    );
    const data = compile(policies, [workload(1, "team/a")]);
    expect([data.names.setCount, data.cidrs.setCount]).toEqual([1, 1]);
  });

  test("a group is one set, however many rules name it", () => {
    const rules = ["a", "b", "c"].map((name) => rule(name, "Allow", { group: "g", ports: ["TCP 443"] }));
    const of = { ...group("g", {}), domains: Array.from({ length: 100 }, (_, i) => domain(`n${i}.test`)) };
    const program = compileScene({ policies: [policy("p", rules)], groups: [of], workloads: [workload(1, "team/a")] });
    expect(program.data.names.setCount).toBe(1);
    expect(program.data.exactNames[0]).toHaveLength(16);
  });

  test("a path made to stall a backtracking matcher takes no time", () => {
    const slow = policy("p", [
      rule("r", "Allow", { domains: ["a.test"], paths: [{ kind: "regex", value: "/(a+)+b" }] }),
    ]);
    const program = compileScene({ policies: [slow], workloads: [workload(1, "team/a")] });
    const request = facts({
      port: 80,
      names: ["a.test"],
      application: "HTTP",
      evidence: "a.test",
      method: "GET",
      path: `/${"a".repeat(50_000)}c`,
    });
    const start = performance.now();
    expect(decide(program, 0, { ...request, ended: true, namesFinal: true }, "enforce")?.action).toBe("Deny");
    expect(performance.now() - start).toBeLessThan(500);
  });
});
