import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ClusterConfig } from "../../../src/agent/cluster/config.ts";
import type { Found } from "../../../src/agent/cluster/discovery.ts";
import { ClusterDocuments } from "../../../src/agent/cluster/documents.ts";
import { type Fields, type KubeObject, keep } from "../../../src/kube/object.ts";
import { formatCidr } from "../../../src/net/cidr.ts";

function object(spec: string, { name = "p", uid = "u1", generation = 1 } = {}): KubeObject {
  const value: Fields = { metadata: { name, uid, generation }, spec: parse(spec) };
  return keep(value, (value) => value)!;
}

const take = (documents: ClusterDocuments, ...objects: KubeObject[]) =>
  documents.take("clusteregresspolicies", new Map(objects.map((one) => [one.key, one])));

const RULES = "rules: [{ name: ok, action: Allow, to: [{ domains: [a.test] }] }, { name: no, action: Deny }]";
const GOOD = `{ tier: Admin, defaultDeny: true, ${RULES} }`;
const WRONG = GOOD.replace("domains: [a.test]", "cidrs: [10.0.0.0/8], except: [11.0.0.0/8]");
const NEWER = GOOD.replace("domains: [a.test]", "domains: [a.test], sni: a.test");

describe("a policy that an API server holds", () => {
  test("is taken as it is written", () => {
    const documents = new ClusterDocuments();
    take(documents, object(GOOD));
    expect(documents.policies[0]!.rules.map(({ name, to }) => [name, to?.length])).toEqual([
      ["ok", 1],
      ["no", undefined],
    ]);
    expect([documents.refused, documents.remembered]).toEqual([[], []]);
  });

  test("that becomes wrong stays what it was, also after a restart", () => {
    const documents = new ClusterDocuments();
    take(documents, object(GOOD));
    const before = documents.policies[0];
    take(documents, object(WRONG, { generation: 2 }));
    expect(documents.policies[0]).toBe(before);
    expect(documents.refused).toMatchObject([{ reason: "Invalid", generation: 2, instead: "last-good" }]);
    const restarted = new ClusterDocuments();
    restarted.remember(documents.remembered);
    take(restarted, object(WRONG, { generation: 2 }));
    expect(restarted.policies[0]).toEqual(before);
  });

  test("that is another of the same name is not what that was", () => {
    const documents = new ClusterDocuments();
    take(documents, object(GOOD));
    take(documents, object(WRONG, { uid: "u2" }));
    expect(documents.policies[0]!.rules[0]).toMatchObject({ name: "ok", action: "Allow", to: [] });
    expect(documents.refused).toMatchObject([{ instead: "strictest" }]);
  });

  test("that is written for a newer agent does not stay what it was: that may be looser", () => {
    const documents = new ClusterDocuments();
    take(documents, object(GOOD));
    take(documents, object(NEWER, { generation: 2 }));
    expect(documents.policies[0]!.rules[0]).toMatchObject({ name: "ok", to: [] });
    expect(documents.refused).toMatchObject([
      { kind: "ClusterEgressPolicy", key: "p", reason: "UnknownField", instead: "strictest" },
    ]);
    expect(documents.refused[0]!.problem).toContain("spec.rules[0].to[0].sni: unknown field `sni`");
    take(documents, object(GOOD, { generation: 3 }));
    expect([documents.refused, documents.policies[0]!.rules[0]!.to?.length]).toEqual([[], 1]);
  });

  test("that is gone is gone", () => {
    const documents = new ClusterDocuments();
    take(documents, object(GOOD));
    take(documents);
    expect(documents.policies).toEqual([]);
  });
});

test("a group that is not understood is left out", () => {
  const documents = new ClusterDocuments();
  const groups = (spec: string) => documents.take("destinationgroups", new Map([["g", object(spec, { name: "g" })]]));
  groups("{ domains: [a.test] }");
  expect(documents.groups).toHaveLength(1);
  groups("{ domains: [a.test], asns: [1] }");
  expect(documents.groups).toEqual([]);
  expect(documents.refused).toMatchObject([{ kind: "DestinationGroup", reason: "UnknownField", instead: "nothing" }]);
});

describe("the configuration", () => {
  const found: Found = {
    resolvers: ["10.96.0.10"],
    podCIDRs: ["10.244.1.0/24"],
    podRanges: ["10.244.1.0/24"],
    serviceCIDRs: ["10.96.0.0/16"],
    internalEndpoints: [],
  };

  test("is what the object says, and for the rest what was found", () => {
    const { config, problem } = new ClusterConfig().read(
      object("{ failMode: Open, clusterCIDRs: [10.0.0.0/8] }"),
      found,
    );
    expect(problem).toBeNull();
    expect(config).toMatchObject({ failMode: "Open", queueNumber: 5100 });
    expect(config!.clusterCIDRs.map(formatCidr)).toEqual(["10.0.0.0/8"]);
    expect(config!.podCIDRs.map(formatCidr)).toEqual(["10.244.1.0/24"]);
  });

  test("with a field that is not known holds without it, and is reported", () => {
    const reader = new ClusterConfig();
    const { config } = reader.read(object("{ failMode: Open, tomorrow: 1 }"), found);
    expect(config?.failMode).toBe("Open");
    expect(reader.refused).toMatchObject({ reason: "UnknownField", instead: "strictest" });
  });

  test("with a value that is not known stays what it was", () => {
    const reader = new ClusterConfig();
    reader.read(object("{ failMode: Open }"), found);
    const { config } = reader.read(object("{ failMode: HalfOpen }"), found);
    expect(config?.failMode).toBe("Open");
    expect(reader.refused).toMatchObject({ reason: "Invalid", instead: "last-good" });
  });

  describe("what Nodes say is their pods'", () => {
    const inside = (podRanges: readonly string[], spec = "{}") => {
      const reader = new ClusterConfig();
      const { config } = reader.read(object(spec), { ...found, podCIDRs: ["203.0.113.0/26"], podRanges });
      return [config!.clusterCIDRs.map(formatCidr), reader.publicRanges, config!.podCIDRs.map(formatCidr)];
    };

    test("is inside where nobody on the Internet has such addresses, and else is said", () => {
      expect(inside(["10.1.0.0/16", "203.0.113.0/24", "2001:db8::/48", "fd00:1::/48"])).toEqual([
        ["10.1.0.0/16", "fd00:1::/48", "10.96.0.0/16"],
        ["203.0.113.0/24", "2001:db8::/48"],
        // A pod's source it is all the same: to hold what comes from there opens nothing.
        ["203.0.113.0/26"],
      ]);
    });

    test("is inside where the AgentConfig lists it as the cluster's own", () => {
      const listed = '{ publicPodCIDRs: [203.0.112.0/22, "2001:db8::/32"] }';
      expect(inside(["10.1.0.0/16", "203.0.113.0/24", "2001:db8:7::/48", "198.51.100.0/24"], listed)).toEqual([
        ["10.1.0.0/16", "203.0.113.0/24", "2001:db8:7::/48", "10.96.0.0/16"],
        ["198.51.100.0/24"],
        ["203.0.113.0/26"],
      ]);
    });

    test("does not matter where the AgentConfig says what is inside", () => {
      expect(inside(["203.0.113.0/24"], "{ clusterCIDRs: [198.51.100.0/24] }")).toEqual([
        ["198.51.100.0/24"],
        [],
        ["203.0.113.0/26"],
      ]);
    });

    test("opens nothing by a list that cannot be read", () => {
      const reader = new ClusterConfig();
      reader.read(object("{}"), found);
      const wrong = { ...found, podRanges: ["203.0.113.0/24"] };
      const { config } = reader.read(object("{ publicPodCIDRs: [203.0.113.0/24, all] }"), wrong);
      expect(config!.clusterCIDRs.map(formatCidr)).toEqual(["10.244.1.0/24", "10.96.0.0/16"]);
      expect(reader.refused).toMatchObject({ reason: "Invalid" });
    });
  });

  test("says what is neither told nor found", () => {
    const { config, problem } = new ClusterConfig().read(undefined, { ...found, resolvers: [] });
    expect(config).toBeNull();
    expect(problem).toContain("set `resolvers` in AgentConfig `default`");
  });
});
