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
    });
  });

  test("an AgentConfig may leave out what the cluster tells, and others than `default` may be there", () => {
    const of = new Judge().judge([
      object("agentconfigs", "default", { failMode: "Open" }),
      object("agentconfigs", "spare", {}),
      object("agentconfigs", "bad", { failMode: "Perhaps" }),
    ]);
    expect(of("agentconfigs/default")).toEqual({ errors: [], warnings: [] });
    expect(of("agentconfigs/spare")).toEqual({ errors: [], warnings: [] });
    expect(of("agentconfigs/bad").errors.join()).toContain("failMode");
  });
});
