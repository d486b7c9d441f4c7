import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PolicyShadows, SHADOW_LIMITS, shadowText } from "../../../src/controller/shadows/policy-shadows.ts";
import type { DestinationGroup, LabelSelector, Policy, Rule, Subject } from "../../../src/model/policy.ts";
import { group, labels, policy, rule } from "../../support/cases.ts";
import { referenceDecide } from "../../support/reference.ts";
import { runs } from "../../support/runs.ts";
import { firstPacket, payloads, SOURCE, world } from "../decide/arbitraries.ts";

const SYSTEM = ["kube-system"];
const NOBODY: Subject = { namespaceSelector: null, podSelector: null, serviceAccounts: null };

function shadowsOf(policies: readonly Policy[], groups: readonly DestinationGroup[] = []): string[] {
  const found = new PolicyShadows().find(policies, new Map(groups.map((one) => [one.name, one])), SYSTEM);
  return [...found].flatMap(([{ name }, shadows]) =>
    shadows.map((one) => `${name}: ${one.rule} by ${one.policy} ${one.by}${one.conflict ? ", conflict" : ""}`),
  );
}

const cluster = (name: string, rules: readonly Rule[], more: Partial<Policy> = {}): Policy =>
  policy(name, rules, { tier: "Admin", priority: 10, ...more });
const team = (name: string, rules: readonly Rule[], more: Partial<Policy> = {}): Policy =>
  policy(name, rules, { kind: "EgressPolicy", tier: "Namespace", namespace: "team", priority: 10, ...more });

const https = (name: string) => ({ domains: [name], ports: ["TCP 443"] });
const API = rule("api", "Allow", https("api.example"));
const REST = rule("rest", "Deny");

describe("a rule that a policy before it makes useless", () => {
  test.each<[string, Policy[], string[]]>([
    [
      "a ceiling that denies the rest",
      [cluster("ceiling", [REST]), team("own", [API])],
      ["own: api by ClusterEgressPolicy/ceiling rest, conflict"],
    ],
    [
      "what a ceiling passes on is for the team, the rest is not",
      [
        cluster("ceiling", [rule("open", "Pass", https("*.example")), REST]),
        team("own", [API, rule("else", "Allow", https("other.test"))]),
      ],
      ["own: else by ClusterEgressPolicy/ceiling rest, conflict"],
    ],
    [
      "passed on by another policy of the tier",
      [
        cluster("first", [rule("open", "Pass", https("api.example"))], { priority: 1 }),
        cluster("ceiling", [REST]),
        team("own", [API, rule("else", "Allow", https("other.test"))]),
      ],
      ["own: else by ClusterEgressPolicy/ceiling rest, conflict"],
    ],
    [
      "a Pass behind it changes nothing",
      [cluster("ceiling", [REST]), cluster("late", [rule("open", "Pass")], { priority: 20 }), team("own", [API])],
      [
        "late: open by ClusterEgressPolicy/ceiling rest, conflict",
        "own: api by ClusterEgressPolicy/ceiling rest, conflict",
      ],
    ],
    [
      "left by a Next",
      [cluster("ceiling", [rule("open", "Next", https("api.example")), REST]), team("own", [API])],
      [],
    ],
    ["the same said twice", [team("a", [API]), team("b", [API])], ["b: api by EgressPolicy/team/a api"]],
    ["said twice in one policy, which validate says", [team("a", [API, { ...API, name: "again" }])], []],
    [
      "one that is walked later",
      [team("a", [API], { priority: 20 }), team("b", [API])],
      ["a: api by EgressPolicy/team/b api"],
    ],
    ["another namespace", [team("a", [API]), team("b", [API], { namespace: "other" })], []],
    ["one that is not applied", [cluster("ceiling", [REST], { mode: "Audit" }), team("own", [API])], []],
    [
      "for one that is not applied either",
      [cluster("ceiling", [REST], { mode: "Audit" }), team("own", [API], { mode: "Audit" })],
      ["own: api by ClusterEgressPolicy/ceiling rest, conflict"],
    ],
    [
      "an address is not a name",
      [cluster("ceiling", [rule("net", "Deny", { cidrs: ["0.0.0.0/0"] })]), team("own", [API])],
      [],
    ],
    [
      "names on a port where they need not be seen may be two of one address",
      [
        cluster("ceiling", [rule("open", "Pass", { domains: ["a.test"], ports: ["TCP 22"] }), REST]),
        team("own", [rule("b", "Allow", { domains: ["b.test"], ports: ["TCP 22"] })]),
      ],
      [],
    ],
  ])("%s", (_, policies, expected) => {
    expect(shadowsOf(policies)).toEqual(expected);
    expect(shadowsOf(policies.toReversed())).toEqual(expected);
  });

  test("groups are names too, unless they hold addresses", () => {
    const policies = [
      cluster("ceiling", [rule("open", "Pass", { group: "g", ports: ["TCP 443"] }), REST]),
      team("own", [API]),
    ];
    const found = ["own: api by ClusterEgressPolicy/ceiling rest, conflict"];
    expect(shadowsOf(policies, [group("g", { domains: ["other.test"] })])).toEqual(found);
    expect(shadowsOf(policies, [group("g", { domains: ["*.example"] })])).toEqual([]);
    expect(shadowsOf(policies, [group("g", { domains: ["other.test"], cidrs: ["192.0.2.0/24"] })])).toEqual([]);
    expect(shadowsOf(policies)).toEqual([]);
  });

  test("is said in one line", () => {
    const [shadow] = [
      ...new PolicyShadows().find([cluster("ceiling", [REST]), team("own", [API])], new Map(), SYSTEM),
    ][0]![1];
    expect(shadowText(shadow!)).toBe(
      "rule `api` never decides: rule `rest` of `ClusterEgressPolicy/ceiling`, which comes before, denies all of it",
    );
  });
});

describe("a subject that holds another", () => {
  const asks = (...requirements: LabelSelector["requirements"]): LabelSelector => ({ requirements });
  const key = (operator: "In" | "NotIn" | "Exists" | "DoesNotExist", ...values: string[]) => ({
    key: "a",
    operator,
    values,
  });
  const pods = (podSelector: LabelSelector): Partial<Policy> => ({ subject: { ...NOBODY, podSelector } });
  const names = (...values: string[]) => asks({ key: "kubernetes.io/metadata.name", operator: "In", values });

  test.each<[string, Partial<Policy>, Partial<Policy>, boolean]>([
    ["everybody holds a team", {}, { namespace: "team" }, true],
    ["everybody does not hold the system's", {}, { namespace: "kube-system" }, false],
    ["everybody holds everybody", {}, {}, true],
    ["everybody does not hold a label that the system's pods may have", {}, pods(labels({ a: "1" })), false],
    [
      "the name of a namespace",
      { subject: { ...NOBODY, namespaceSelector: names("team", "x") } },
      { namespace: "team" },
      true,
    ],
    ["another name", { subject: { ...NOBODY, namespaceSelector: names("x") } }, { namespace: "team" }, false],
    [
      "a label of a namespace is not known",
      { subject: { ...NOBODY, namespaceSelector: labels({ env: "prod" }) } },
      { namespace: "team" },
      false,
    ],
    ["the same label", pods(labels({ a: "1" })), pods(labels({ a: "1", b: "2" })), true],
    ["another value", pods(labels({ a: "1" })), pods(labels({ a: "2" })), false],
    ["more values", pods(asks(key("In", "1", "2"))), pods(labels({ a: "1" })), true],
    ["fewer values", pods(labels({ a: "1" })), pods(asks(key("In", "1", "2"))), false],
    ["any value", pods(asks(key("Exists"))), pods(labels({ a: "1" })), true],
    ["none of others", pods(asks(key("NotIn", "2"))), pods(labels({ a: "1" })), true],
    ["none of it", pods(asks(key("NotIn", "1"))), pods(labels({ a: "1" })), false],
    ["none at all", pods(asks(key("NotIn", "1"))), pods(asks(key("DoesNotExist"))), true],
    [
      "accounts",
      { subject: { ...NOBODY, serviceAccounts: ["x", "y"] } },
      { subject: { ...NOBODY, serviceAccounts: ["x"] } },
      true,
    ],
    ["other accounts", { subject: { ...NOBODY, serviceAccounts: ["x"] } }, { subject: NOBODY }, false],
  ])("%s", (_, outer, inner, holds) => {
    const more: Partial<Policy> =
      inner.namespace === undefined
        ? { tier: "Baseline", ...inner }
        : { kind: "EgressPolicy", tier: "Namespace", ...inner };
    expect(shadowsOf([cluster("outer", [REST], outer), policy("inner", [API], more)]).length).toBe(holds ? 1 : 0);
  });
});

describe("whatever policies say", () => {
  test("without such a rule every flow is decided as with it", () => {
    let found = 0;
    fc.assert(
      fc.property(world, fc.array(firstPacket, { minLength: 3, maxLength: 3 }), (of, firsts) => {
        const own = of.policies.filter(({ kind }) => kind === "ClusterEgressPolicy" || kind === "EgressPolicy");
        const groups = new Map(of.groups.map((one) => [one.name, one]));
        for (const [policy, shadows] of new PolicyShadows().find(own, groups, of.config.systemNamespaces)) {
          for (const { rule } of shadows) {
            found++;
            const rules = policy.rules.filter(({ name }) => name !== rule);
            const without = of.policies.map((one) => (one === policy ? { ...one, rules } : one));
            const walk = policy.mode === "Audit" ? "all" : "enforce";
            for (const facts of firsts.flatMap(payloads)) {
              expect(referenceDecide({ ...of, policies: without }, SOURCE, facts, walk)).toEqual(
                referenceDecide(of, SOURCE, facts, walk),
              );
            }
          }
        }
      }),
      { numRuns: runs(600) },
    );
    expect(found).toBeGreaterThan(20);
  });
});

describe("costs", () => {
  const many = (count: number, rules: readonly Rule[]): Policy[] =>
    Array.from({ length: count }, (_, i) => team(`p${i}`, rules, { namespace: `ns-${i}` }));

  test("what has not changed is not compared again", () => {
    const shadows = new PolicyShadows({ ...SHADOW_LIMITS, ofAll: 100 });
    const policies = [cluster("ceiling", [rule("net", "Deny", { cidrs: ["0.0.0.0/0"] })]), ...many(100, [API])];
    const rounds: number[] = [];
    do {
      shadows.find(policies, new Map(), SYSTEM);
      rounds.push(shadows.unfinished);
    } while (rounds.at(-1)! > 0 && rounds.length < 20);
    expect(rounds.at(-1)).toBe(0);
    expect(rounds.length).toBeGreaterThan(1);
  });

  test("a policy that names very much is given up, and counted", () => {
    const names = Array.from({ length: 2_000 }, (_, i) => `n${i}.example`);
    const shadows = new PolicyShadows();
    const big = team("big", [rule("all", "Allow", { domains: names, ports: ["TCP 443"] })]);
    const bigger = team("last", [rule("all", "Allow", { domains: names.toReversed(), ports: ["TCP 443"] })], {
      priority: 20,
    });
    expect(shadows.find([big, bigger], new Map(), SYSTEM).size).toBe(0);
    expect(shadows.unfinished).toBe(1);
  });

  test("a policy that follows very many is compared with some, and counted", () => {
    const shadows = new PolicyShadows();
    const policies = Array.from({ length: 100 }, (_, i) =>
      team(`p${i}`, [rule("a", "Allow", https(`n${i}.example`))], { priority: i }),
    );
    shadows.find(policies, new Map(), SYSTEM);
    expect(shadows.unfinished).toBe(100 - SHADOW_LIMITS.candidates - 1);
  });
});
