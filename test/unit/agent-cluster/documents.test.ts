import { describe, expect, test } from "vitest";
import { ClusterConfig } from "../../../src/agent/cluster/config.ts";
import { discover, type Found } from "../../../src/agent/cluster/discovery.ts";
import { ClusterDocuments } from "../../../src/agent/cluster/documents.ts";
import { nodeStatus } from "../../../src/agent/cluster/node-status.ts";
import type { ResourceName } from "../../../src/agent/cluster/resources.ts";
import type { NotEnforcedPod } from "../../../src/agent/coverage/report.ts";
import type { KubeObject } from "../../../src/kube/object.ts";
import type { Workload } from "../../../src/model/workload.ts";

const SPEC = {
  tier: "Admin",
  priority: 3,
  defaultDeny: true,
  subject: { podSelector: { matchLabels: { role: "app" } } },
};

function cluster(name: string, spec: unknown, uid = "u1", generation = 1): KubeObject {
  return { key: name, uid, value: { metadata: { name, uid, generation }, spec } };
}

function read(documents: ClusterDocuments, ...objects: readonly KubeObject[]): void {
  documents.take("clusteregresspolicies", new Map(objects.map((object) => [object.key, object])));
}

describe("documents of an API server", () => {
  test("what has not changed is the same object, and what is gone is gone", () => {
    const documents = new ClusterDocuments();
    const [a, b] = [cluster("a", SPEC), cluster("b", SPEC, "u2")];
    read(documents, a, b);
    const before = documents.policies;
    read(documents, a, cluster("b", { ...SPEC, priority: 4 }, "u2", 2));
    expect(documents.policies[0]).toBe(before[0]);
    expect(documents.policies[1]).not.toBe(before[1]);
    read(documents, a);
    expect(documents.policies).toHaveLength(1);
  });

  test("only those that may have changed are looked at, where that is known", () => {
    const documents = new ClusterDocuments();
    const [a, b, c] = [cluster("a", SPEC), cluster("b", SPEC, "u2"), cluster("c", SPEC, "u3")];
    read(documents, a, b);
    const lists = documents.policies;
    const take = (changed: readonly string[], ...objects: readonly KubeObject[]) =>
      documents.take("clusteregresspolicies", new Map(objects.map((object) => [object.key, object])), changed);
    take(["a", "gone"], a, b);
    expect(documents.policies).toBe(lists);
    take(["b", "c"], a, c);
    expect(documents.policies.map(({ name }) => name)).toEqual(["a", "c"]);
    take(["a"], cluster("a", { ...SPEC, priority: 9 }), c);
    expect(documents.policies.map(({ priority }) => priority)).toEqual([9, 3]);
  });
});

describe("what concerns a node", () => {
  const team = (namespace: string, name: string, spec: object = {}): KubeObject => {
    return { key: `${namespace}/${name}`, uid: name, value: { metadata: { namespace, name }, spec } };
  };
  const group: KubeObject = {
    key: "g",
    uid: "g",
    value: { metadata: { name: "g" }, spec: { domains: ["a.example"] } },
  };
  const names = (all: readonly { readonly name: string }[]) => all.map(({ name }) => name);

  test("is of the cluster or of its pods' namespaces; of the others those that are refused are known, and their number", () => {
    const documents = new ClusterDocuments();
    read(documents, cluster("wide", { ...SPEC, mode: "Audit" }));
    documents.take("destinationgroups", new Map([["g", group]]));
    const objects = [team("a", "one"), team("b", "two"), team("b", "bad", { priority: -1 }), team("c", "three")];
    documents.take("egresspolicies", new Map(objects.map((object) => [object.key, object])));
    const { policies, groups, listing, count } = documents.concerning(new Set(["a"]));
    expect(names(policies)).toEqual(["wide", "one"]);
    expect(names(groups)).toEqual(["g"]);
    expect(listing.map(({ object }) => object.key)).toEqual(["wide", "a/one", "b/bad", "g"]);
    expect(count).toEqual({ policies: 5, audited: 1 });
    expect(documents.refused.map(({ key }) => key)).toEqual(["b/bad"]);
  });

  test("is the same for as long as neither its namespaces nor a document change", () => {
    const documents = new ClusterDocuments();
    const take = (...objects: readonly KubeObject[]) =>
      documents.take("egresspolicies", new Map(objects.map((object) => [object.key, object])));
    const [one, two] = [team("a", "one"), team("b", "two")];
    take(one, two);
    const first = documents.concerning(new Set(["a"]));
    take(one, two);
    expect(documents.concerning(new Set(["a"]))).toBe(first);
    expect(names(documents.concerning(new Set(["b"])).policies)).toEqual(["two"]);
    expect(names(documents.concerning(new Set(["a", "b"])).policies)).toEqual(["one", "two"]);
    take(two);
    expect(documents.concerning(new Set(["a"])).policies).toEqual([]);
  });

  test("what was refused and is gone, or mended, is refused no more", () => {
    const documents = new ClusterDocuments();
    const take = (...objects: readonly KubeObject[]) =>
      documents.take("egresspolicies", new Map(objects.map((object) => [object.key, object])));
    take(team("a", "one", { priority: -1 }), team("a", "two", { priority: -1 }));
    expect(documents.refused).toHaveLength(2);
    take(team("a", "two"));
    expect(documents.refused).toEqual([]);
  });
});

const FOUND: Found = {
  resolvers: ["10.96.0.10"],
  podCIDRs: ["10.244.1.0/24"],
  podRanges: ["10.244.1.0/24"],
  serviceCIDRs: [],
  internalEndpoints: [],
};

describe("the configuration", () => {
  test("is what was found, where AgentConfig `default` says nothing else", () => {
    const config = new ClusterConfig();
    const first = config.read(undefined, FOUND).config;
    expect(first).toMatchObject({ failMode: "Closed", queueNumber: 5100 });
    expect(config.read(undefined, { ...FOUND }).config).toBe(first);
    const own = config.read(cluster("default", { failMode: "Open", resolvers: ["192.0.2.53"] }), FOUND).config;
    expect(own).toMatchObject({ failMode: "Open" });
    expect(own?.resolvers).not.toEqual(first?.resolvers);
    expect(own?.podCIDRs).toEqual(first?.podCIDRs);
  });

  test("stays what it was when it cannot be read", () => {
    const config = new ClusterConfig();
    const first = config.read(undefined, FOUND).config;
    const { config: second, problem } = config.read(cluster("default", { failMode: "Ajar" }), FOUND);
    expect(second).toBe(first);
    expect(problem).toContain("failMode");
    expect(config.refused).toMatchObject({ kind: "AgentConfig", instead: "last-good" });
  });

  test("says what is missing, and where to write it", () => {
    const config = new ClusterConfig();
    expect(config.read(undefined, { ...FOUND, podCIDRs: [] })).toEqual({
      config: null,
      problem: "the Node has no `spec.podCIDRs`: set `podCIDRs` in AgentConfig `default`",
    });
    expect(config.read(cluster("default", { podCIDRs: ["10.1.0.0/16"] }), { ...FOUND, podCIDRs: [] }).problem).toBe(
      null,
    );
  });

  test.each([
    ["need not be known", []],
    ["are not taken from the Node", ["10.1.0.0/16"]],
  ])("where the interfaces of pods are named, their ranges %s", (_, podCIDRs) => {
    const object = cluster("default", { podInterfaces: ["eni*"] });
    const { config, problem } = new ClusterConfig().read(object, { ...FOUND, podCIDRs });
    expect([config?.podInterfaces, config?.podCIDRs, problem]).toEqual([["eni*"], [], null]);
  });
});

describe("what is found in a cluster", () => {
  const objects = (all: Partial<Record<ResourceName, readonly object[]>>) => (name: ResourceName) =>
    (all[name] ?? []).map(
      (value, i): KubeObject => ({ key: String(i), uid: String(i), value: value as KubeObject["value"] }),
    );

  test("resolvers, ranges and the API server behind its Service", () => {
    const slice = { endpoints: [{ addresses: ["10.244.3.7"] }, { addresses: ["10.244.3.8"] }], ports: [{ port: 53 }] };
    const found = discover(
      objects({
        nodes: [{ spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24", "fd00:244:1::/64"] } }],
        services: [
          { spec: { clusterIP: "10.96.0.10", clusterIPs: ["10.96.0.10", "fd00:96::a"] } },
          { spec: { clusterIP: "None" } },
        ],
        endpointslices: [slice],
        ranges: [{ data: { podCIDRs: "10.244.0.0/22\nfd00:244::/62\n" } }],
        servicecidrs: [{ spec: { cidrs: ["10.96.0.0/16", "fd00:96::/112"] } }, { spec: { cidrs: ["nonsense"] } }],
        apiserver: [{ endpoints: [{ addresses: ["192.0.2.1"] }], ports: [{ port: 6443, protocol: "TCP" }] }],
      }),
    );
    expect(found).toEqual({
      resolvers: ["10.96.0.10", "fd00:96::a", "10.244.3.7", "10.244.3.8"],
      podCIDRs: ["10.244.1.0/24", "fd00:244:1::/64"],
      podRanges: ["10.244.1.0/24", "fd00:244:1::/64", "10.244.0.0/22", "fd00:244::/62"],
      serviceCIDRs: ["10.96.0.0/16", "fd00:96::/112"],
      internalEndpoints: [{ address: "192.0.2.1", protocol: "TCP", port: 6443 }],
    });
  });

  test("nothing is found in nothing, or in what is not as it should be", () => {
    const nothing = { resolvers: [], podCIDRs: [], podRanges: [], serviceCIDRs: [], internalEndpoints: [] };
    expect(discover(objects({}))).toEqual(nothing);
    const odd = [{ spec: 7 }, { spec: { podCIDRs: [7], clusterIPs: "x" }, endpoints: [null], ports: ["x"] }];
    expect(discover(objects({ nodes: odd, services: odd, endpointslices: odd, apiserver: odd }))).toEqual(nothing);
  });
});

describe("the status of a node", () => {
  const pod: Workload = {
    ...{ id: 1, uid: "p", namespace: "ns", name: "app", labels: { role: "app" }, namespaceLabels: {} },
    ...{ serviceAccount: "default", addresses: [], node: "node1" },
  };
  const HOST: NotEnforcedPod = {
    ...{ namespace: "ns", pod: "host", reason: "HostNetwork", message: "it shares it", selected: false },
  };
  const input = (documents: ClusterDocuments, more: object = {}) => ({
    ...{
      version: "1",
      notReady: null,
      uninstalling: false,
      bootID: "b00t",
      bypasses: [],
      publicRanges: [],
      config: null,
      sources: [],
      runtime: null,
      unapplied: null,
      listing: documents.listing,
      workloads: [pod],
    },
    ...{ systemNamespaces: ["kube-system"], notEnforced: [HOST], denials: { denials: [], leftOut: 0 } },
    ...more,
  });

  test("says which ranges of Nodes are not inside, for as long as there are some", () => {
    const ranges = Array.from({ length: 10 }, (_, i) => `203.0.113.${i}/32`);
    const { conditions } = nodeStatus(input(new ClusterDocuments(), { publicRanges: ranges }));
    const said = conditions.find(({ type }) => type === "PodRangesInside");
    expect(said).toMatchObject({ status: "False", reason: "PublicAddresses" });
    expect(said?.message).toMatch(/203\.0\.113\.7\/32 and 2 more are their pods'.*`publicPodCIDRs` of AgentConfig/);
    expect(nodeStatus(input(new ClusterDocuments())).conditions.map(({ type }) => type)).toEqual(["Ready"]);
  });

  test("names policies that select a pod of it, and those that cannot be enforced, first", () => {
    const documents = new ClusterDocuments();
    const nobody = { ...SPEC, subject: { podSelector: { matchLabels: { role: "nobody" } } } };
    read(
      documents,
      cluster("a", SPEC, "u1", 4),
      cluster("b", nobody, "u2"),
      cluster("c", { ...nobody, rules: 7 }, "u3"),
    );
    const { policies, notEnforced, notEnforcedPods, ready } = nodeStatus(input(documents));
    expect(policies).toMatchObject([
      { kind: "ClusterEgressPolicy", name: "c", uid: "u3", programmed: false, reason: "Invalid", selectedPods: 0 },
      { kind: "ClusterEgressPolicy", name: "a", uid: "u1", generation: 4, programmed: true, selectedPods: 1 },
    ]);
    expect(notEnforced).toEqual([{ namespace: "ns", pod: "host", reason: "HostNetwork", message: "it shares it" }]);
    expect([notEnforcedPods, ready]).toEqual([1, true]);
  });

  test("has room for so many pods that are not enforced, and counts the rest", () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ ...HOST, pod: `host${i}`, message: "x".repeat(5000) }));
    const { notEnforced, notEnforcedLeftOut, notEnforcedPods } = nodeStatus(
      input(new ClusterDocuments(), { notEnforced: many }),
    );
    expect([notEnforced.length, notEnforcedLeftOut, notEnforcedPods]).toEqual([256, 44, 300]);
    expect(notEnforced[0]?.message).toHaveLength(1000);
  });

  test("claims nothing that was not applied", () => {
    const documents = new ClusterDocuments();
    read(documents, cluster("a", SPEC));
    const { policies, ready, conditions } = nodeStatus(input(documents, { unapplied: "no memory", notReady: "hangs" }));
    expect(policies).toMatchObject([{ programmed: false, reason: "NotApplied", message: "no memory" }]);
    expect([ready, conditions]).toMatchObject([false, [{ type: "Ready", status: "False", message: "hangs" }]]);
  });

  test("says what is set aside", () => {
    const bypass = {
      ...{ id: "0a", scope: "Namespace", namespace: "ns", reason: "why", by: "root" },
      ...{ since: "2026-03-01T12:00:00.000Z", until: "2026-03-01T12:15:00.000Z", bootID: "b00t", endsAt: 7 },
    };
    const status = nodeStatus(input(new ClusterDocuments(), { bypasses: [bypass] }));
    const { bootID: _, endsAt: __, ...shown } = bypass;
    expect([status.bypass, status.bootID]).toEqual([[shown], "b00t"]);
    expect(status.conditions).toMatchObject([{ type: "Ready" }, { type: "Bypassed", status: "True" }]);
  });

  test("says that it knows of an uninstallation", () => {
    const { ready, conditions } = nodeStatus(input(new ClusterDocuments(), { uninstalling: true }));
    expect([ready, conditions]).toMatchObject([false, [{ type: "Ready", reason: "Uninstalling" }]]);
  });
});
