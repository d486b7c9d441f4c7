import { describe, expect, test } from "vitest";
import type { KindResource } from "../../../src/agent/cluster/resources.ts";
import { Judge } from "../../../src/controller/judge.ts";

const object = (resource: KindResource, key: string, spec: object) => {
  const [first, second] = key.split("/");
  const metadata = second === undefined ? { name: first } : { namespace: first, name: second };
  return { resource, object: { key, uid: key, value: { metadata, spec } } };
};
const rule = (name: string, to: object) => ({ name, action: "Allow", to: [to] });

const ports = [{ protocol: "TCP", port: 443 }];

describe("what is to be said of an object by itself", () => {
  test("a policy: what validate says", () => {
    const bad = object("egresspolicies", "team/bad", {
      priority: 1,
      subject: {},
      rules: [rule("a", { domains: ["API.example."] })],
    });
    const shadowed = object("egresspolicies", "team/twice", {
      priority: 1,
      subject: {},
      rules: [rule("first", { domains: ["*.example"], ports }), rule("second", { domains: ["a.example"], ports })],
    });
    const of = new Judge().judge([bad, shadowed]);
    expect(of("egresspolicies/team/bad").errors.join()).toContain("api.example");
    expect(of("egresspolicies/team/twice")).toEqual({
      errors: [],
      warnings: [expect.stringContaining("`second` never decides")],
      shadows: [],
    });
  });

  test("of each, however many there are", () => {
    const many = Array.from({ length: 1_500 }, (_, i) =>
      object("egresspolicies", `team/p${i}`, { rules: [rule("a", { group: "none", ports })] }),
    );
    const of = new Judge().judge(many);
    for (const { object: one } of many) {
      expect(of(`egresspolicies/${one.key}`).warnings).toEqual([
        expect.stringMatching(/^spec\.rules\[0\]\.to\[0\]\.group: there is no group `none`/),
      ]);
    }
  });

  test("a group that comes, and one that cannot be used, is a group that others speak of", () => {
    const judge = new Judge();
    const uses = object("egresspolicies", "team/uses", { rules: [rule("a", { group: "g", ports })] });
    const said = (spec: object) =>
      judge.judge([uses, object("destinationgroups", "g", spec)])("egresspolicies/team/uses").warnings.length;
    expect(judge.judge([uses])("egresspolicies/team/uses").warnings).toHaveLength(1);
    expect(said({ domains: ["a.example"] })).toBe(0);
    expect(said({ domains: ["A.example"] })).toBe(1);
  });

  test("an AgentConfig may leave out what the cluster tells, and others than `default` may be there", () => {
    const of = new Judge().judge([
      object("agentconfigs", "default", { failMode: "Open" }),
      object("agentconfigs", "spare", {}),
      object("agentconfigs", "bad", { failMode: "Perhaps" }),
    ]);
    expect(of("agentconfigs/default")).toEqual({ errors: [], warnings: [], shadows: [] });
    expect(of("agentconfigs/spare")).toEqual({ errors: [], warnings: [], shadows: [] });
    expect(of("agentconfigs/bad").errors.join()).toContain("failMode");
  });
});

describe("what is to be said of it because of others", () => {
  const ceiling = object("clusteregresspolicies", "ceiling", {
    tier: "Admin",
    defaultDeny: true,
    rules: [{ name: "rest", action: "Deny" }],
  });
  const own = (namespace: string) =>
    object("egresspolicies", `${namespace}/own`, { rules: [rule("api", { domains: ["api.example"], ports })] });

  test("a rule that a policy before it makes useless", () => {
    const of = new Judge().judge([own("team"), ceiling, own("kube-system")]);
    expect(of("egresspolicies/team/own").shadows).toEqual([
      { rule: "api", policy: "ClusterEgressPolicy/ceiling", by: "rest", action: "Deny", conflict: true },
    ]);
    expect(of("egresspolicies/kube-system/own").shadows).toEqual([]);
    expect(of("clusteregresspolicies/ceiling").shadows).toEqual([]);
  });

  test("which namespaces are the system's says the AgentConfig", () => {
    const config = object("agentconfigs", "default", { systemNamespaces: ["team"] });
    const of = new Judge().judge([own("team"), ceiling, own("kube-system"), config]);
    expect(of("egresspolicies/team/own").shadows).toEqual([]);
    expect(of("egresspolicies/kube-system/own").shadows).toHaveLength(1);
  });
});
