import { describe, expect, test } from "vitest";
import type { LabelRequirement, Policy, Subject } from "../../../src/model/policy.ts";
import { comparePolicies } from "../../../src/program/order.ts";
import { selects } from "../../../src/program/select.ts";
import { EVERYBODY, labels, policy, workload } from "../../support/cases.ts";

const SYSTEM = ["kube-system", "sallyport"];
const pod = workload(1, "team/app", {
  labels: { app: "web", empty: "" },
  namespaceLabels: { env: "prod", "kubernetes.io/metadata.name": "forged" },
  serviceAccount: "web",
});

function requires(key: string, operator: LabelRequirement["operator"], ...values: string[]): Partial<Subject> {
  return { podSelector: { requirements: [{ key, operator, values }] } };
}

function select(subject: Partial<Subject>, more: Partial<Policy> = {}): boolean {
  return selects(policy("p", [], { subject: { ...EVERYBODY, ...subject }, ...more }), pod, SYSTEM);
}

describe("selection", () => {
  test.each<[string, Partial<Subject>, boolean]>([
    ["an empty subject", {}, true],
    ["a label", { podSelector: labels({ app: "web" }) }, true],
    ["another value", { podSelector: labels({ app: "db" }) }, false],
    ["all of several", { podSelector: labels({ app: "web", tier: "front" }) }, false],
    ["In", requires("app", "In", "db", "web"), true],
    ["In, label absent", requires("tier", "In", "front"), false],
    ["NotIn", requires("app", "NotIn", "web"), false],
    ["NotIn, label absent", requires("tier", "NotIn", "front"), true],
    ["Exists, empty value", requires("empty", "Exists"), true],
    ["Exists, label absent", requires("tier", "Exists"), false],
    ["DoesNotExist", requires("app", "DoesNotExist"), false],
    ["DoesNotExist, label absent", requires("tier", "DoesNotExist"), true],
    ["a label of every object in JavaScript", requires("constructor", "Exists"), false],
    ["its service account", { serviceAccounts: ["other", "web"] }, true],
    ["another service account", { serviceAccounts: ["other"] }, false],
    ["no service account at all", { serviceAccounts: [] }, false],
    ["a namespace label", { namespaceSelector: labels({ env: "prod" }) }, true],
    ["fields are ANDed", { namespaceSelector: labels({ env: "prod" }), podSelector: labels({ app: "db" }) }, false],
    ["the name of the namespace", { namespaceSelector: labels({ "kubernetes.io/metadata.name": "team" }) }, true],
    ["which no label can forge", { namespaceSelector: labels({ "kubernetes.io/metadata.name": "forged" }) }, false],
  ])("%s", (_says, subject, selected) => {
    expect(select(subject)).toBe(selected);
  });

  test("an EgressPolicy selects in its own namespace only", () => {
    expect(select({}, { namespace: "team" })).toBe(true);
    expect(select({}, { namespace: "other" })).toBe(false);
  });

  test("a subject without requirements skips the system namespaces", () => {
    const dns = workload(2, "kube-system/coredns", { labels: { app: "web" } });
    const of = (subject: Partial<Subject>, more: Partial<Policy> = {}) =>
      selects(policy("p", [], { subject: { ...EVERYBODY, ...subject }, ...more }), dns, SYSTEM);
    expect(of({})).toBe(false);
    expect(of({ podSelector: { requirements: [] }, namespaceSelector: { requirements: [] } })).toBe(false);
    expect(of({ podSelector: labels({ app: "web" }) })).toBe(true);
    expect(of({}, { namespace: "kube-system" })).toBe(true);
  });
});

test("order: tier, priority, namespace, name", () => {
  const sorted = [
    policy("b", [], { tier: "Baseline", priority: 0 }),
    policy("z", [], { namespace: "a", priority: 5 }),
    policy("a", [], { namespace: "b", priority: 5 }),
    policy("y", [], { priority: 9 }),
    policy("x", [], { priority: 10 }),
    policy("B", [], { priority: 9 }),
  ].sort(comparePolicies);
  expect(sorted.map(({ name }) => name).join("")).toBe("Byxzab");
});
