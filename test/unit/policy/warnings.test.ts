import { describe, expect, test } from "vitest";
import { clusterPolicy, problemsOf, withDestination } from "./documents-of.ts";

describe("entries of `to`", () => {
  test.each([
    [
      "{ domains: [a.example] }",
      "Allow",
      "9:22: warning: `domains` without `ports` opens every port and protocol of these names: add `ports`, as in `[{ protocol: TCP, port: 443 }]`",
    ],
    ["{ domains: [a.example] }", "Deny", null],
    [
      "{ domains: [a.example], ports: [{ port: 443 }], http: {} }",
      "Allow",
      "9:65: warning: `http` reads plaintext, and these ports carry TLS, so the entry matches nothing: use port 80, or leave `http` out",
    ],
    ["{ domains: [a.example], ports: [{ port: 443 }, { port: 80 }], http: {} }", "Allow", null],
    ["{ domains: [a.example], ports: [{ port: 400, endPort: 500 }], http: {} }", "Allow", null],
    [
      "{ group: g, ports: [{ port: 443 }] }",
      "Allow",
      "9:20: warning: there is no group `g`, so the entry matches nothing: add a DestinationGroup of that name",
    ],
    [
      "{ group: g, ports: [{ port: 443 }] }",
      "Deny",
      "9:20: warning: there is no group `g`, so the entry matches everything: add a DestinationGroup of that name",
    ],
    [
      "{ cidrs: [192.0.2.0/24], ports: [{ port: 443 }, { protocol: UDP, port: 50, endPort: 60 }] }",
      "Allow",
      "9:59: warning: rule `one` allows port 53: whoever answers there is a tunnel for any data, and its answers are not learned; remove it unless that is meant",
    ],
    ["{ cidrs: [192.0.2.0/24], ports: [{ protocol: UDP, port: 53 }] }", "Deny", null],
    ["{ cidrs: [192.0.2.0/24] }", "Allow", null],
  ])("%s in a rule that says %s", (entry, action, message) => {
    expect(problemsOf(withDestination(entry, action))).toEqual(message === null ? [] : [message]);
  });

  test("a group that is nearly there, and one that holds domains", () => {
    const group =
      "---\napiVersion: sallyport.dev/v1alpha1\nkind: DestinationGroup\nmetadata: { name: partners }\nspec: { domains: [a.example] }\n";
    expect(problemsOf(`${withDestination("{ group: partner, ports: [{ port: 443 }] }")}${group}`)).toEqual([
      "9:20: warning: there is no group `partner`, so the entry matches nothing: did you mean `partners`?",
    ]);
    expect(problemsOf(`${withDestination("{ group: partners }")}${group}`)).toEqual([
      expect.stringMatching(/^9:20: warning: `group` without `ports`/),
    ]);
  });
});

describe("policies", () => {
  test("a policy that does nothing", () => {
    expect(problemsOf(clusterPolicy("  tier: Admin\n  defaultDeny: false"))).toEqual([
      "5:3: warning: `ClusterEgressPolicy/test` has no rules and no default deny, so it does nothing: add rules or `defaultDeny: true`",
    ]);
  });

  test.each([
    ["{ matchLabels: { a: b }, matchExpressions: [{ key: a, operator: In, values: [c] }] }", true],
    ["{ matchLabels: { a: b }, matchExpressions: [{ key: a, operator: In, values: [c, b] }] }", false],
    ["{ matchLabels: { a: b }, matchExpressions: [{ key: a, operator: NotIn, values: [b] }] }", true],
    ["{ matchExpressions: [{ key: a, operator: Exists }, { key: a, operator: DoesNotExist }] }", true],
    ["{ matchExpressions: [{ key: a, operator: NotIn, values: [b] }, { key: a, operator: DoesNotExist }] }", false],
    ["{ matchExpressions: [{ key: a, operator: Exists }, { key: b, operator: DoesNotExist }] }", false],
  ])("%s selects nothing: %s", (selector, expected) => {
    const problems = problemsOf(
      clusterPolicy(`  tier: Admin\n  defaultDeny: true\n  subject: { podSelector: ${selector} }`),
    );
    const message =
      "7:27: warning: what `podSelector` asks of the label `a` no object can meet, so the policy selects nothing: take one requirement out";
    expect(problems).toEqual(expected ? [message] : []);
  });
});

describe("shadowed rules", () => {
  const A443 = "{ domains: [a.example], ports: [{ port: 443 }] }";
  const PARENT = "{ domains: ['*.example'], ports: [{ port: 443 }] }";
  const NET = "{ cidrs: [10.0.0.0/8] }";

  test.each([
    // [first action, first `to`, second action, second `to`, shadowed]
    ["Deny", null, "Allow", NET, true],
    ["Allow", null, "Deny", null, true],
    // Only an Allow that names port 53 opens another resolver.
    ["Allow", NET, "Allow", "{ cidrs: [10.1.0.0/16], ports: [{ protocol: UDP, port: 53 }] }", false],
    ["Allow", null, "Deny", "{ ports: [{ protocol: UDP, port: 53 }] }", false],
    ["Deny", NET, "Allow", null, false],
    ["Deny", "{}", "Allow", null, true],
    ["Deny", NET, "Allow", "{ cidrs: [10.1.0.0/16], ports: [{ port: 22 }] }", true],
    ["Deny", NET, "Allow", "{ cidrs: [10.1.0.0/16, 11.0.0.0/8] }", false],
    ["Deny", "{ cidrs: ['::/0'] }", "Allow", NET, false],
    ["Deny", "{ cidrs: [10.0.0.0/8], except: [10.1.0.0/16] }", "Allow", "{ cidrs: [10.2.0.0/16] }", true],
    ["Deny", "{ cidrs: [10.0.0.0/8], except: [10.1.0.0/16] }", "Allow", "{ cidrs: [10.1.2.0/24] }", false],
    [
      "Deny",
      "{ cidrs: [10.0.0.0/8], except: [10.1.2.0/24] }",
      "Allow",
      "{ cidrs: [10.1.0.0/16], except: [10.1.0.0/17] }",
      true,
    ],
    [
      "Deny",
      "{ ports: [{ port: 1, endPort: 100 }] }",
      "Allow",
      "{ cidrs: [10.0.0.0/8], ports: [{ port: 22 }, { port: 99, endPort: 100 }] }",
      true,
    ],
    ["Deny", "{ ports: [{ port: 22 }] }", "Allow", NET, false],
    ["Deny", "{ ports: [{ protocol: Any }] }", "Allow", "{ cidrs: [10.0.0.0/8], ports: [{ protocol: ICMP }] }", true],
    ["Allow", PARENT, "Allow", A443, true],
    ["Allow", A443, "Allow", PARENT, false],
    // What an Allow by name leaves over (a name without its binding) the Deny still meets.
    ["Allow", PARENT, "Deny", A443, false],
    ["Deny", PARENT, "Allow", A443, true],
    ["Deny", PARENT, "Deny", A443, true],
    ["Allow", "{ ports: [{ port: 443 }] }", "Deny", A443, true],
    ["Allow", A443, "Allow", "{ domains: [a.example], ports: [{ port: 443 }], tls: { required: true } }", true],
    ["Allow", "{ domains: [a.example], ports: [{ port: 443 }], tls: { required: true } }", "Allow", A443, false],
    [
      "Deny",
      "{ domains: [a.example], ports: [{ port: 80 }], http: { methods: [GET] } }",
      "Allow",
      "{ domains: [a.example], ports: [{ port: 80 }] }",
      false,
    ],
  ])("%s %s, then %s %s: %s", (first, to, second, later, expected) => {
    const rule = (name: string, action: string, entry: string | null) =>
      `    - { name: ${name}, action: ${action}${entry === null ? "" : `, to: [${entry}]`} }\n`;
    const problems = problemsOf(
      clusterPolicy(
        `  tier: Admin\n  defaultDeny: true\n  rules:\n${rule("first", first, to)}${rule("second", second, later)}`,
      ),
    );
    const message =
      "9:15: warning: rule `second` never decides: `first` above it covers all of it; move it up, or remove it";
    expect(problems.filter((problem) => problem.includes("never decides"))).toEqual(expected ? [message] : []);
  });

  test("a Deny that lets hidden names go on does not cover one that does not", () => {
    const rules =
      "  rules:\n    - { name: first, action: Deny, whenHidden: Continue, to: [{ domains: [a.example] }] }\n    - { name: second, action: Deny, to: [{ domains: [a.example] }] }";
    expect(problemsOf(clusterPolicy(`  tier: Admin\n  defaultDeny: true\n${rules}`))).toEqual([]);
  });

  test("every entry of the later rule must be covered", () => {
    const rules = (to: string) =>
      `  rules:\n    - { name: first, action: Deny, to: [{ cidrs: [10.0.0.0/8] }, { cidrs: [11.0.0.0/8] }] }\n    - { name: second, action: Allow, to: ${to} }`;
    const of = (to: string) => problemsOf(clusterPolicy(`  tier: Admin\n  defaultDeny: true\n${rules(to)}`)).length;
    expect(of("[{ cidrs: [10.1.0.0/16] }, { cidrs: [11.1.0.0/16] }]")).toBe(1);
    expect(of("[{ cidrs: [10.1.0.0/16] }, { cidrs: [12.1.0.0/16] }]")).toBe(0);
  });
});
