import { describe, expect, test } from "vitest";
import { clusterPolicy, problemsOf, withDestination } from "./documents-of.ts";

const HEAD = "  tier: Admin\n  defaultDeny: true\n";
const PORTS = "ports: [{ port: 80 }]";

test("where the entries of the tables stand", () => {
  expect(withDestination("XX").split("\n")[8]).toBe("          XX");
});

describe("entries of `to`", () => {
  test.each([
    [`{ domain: [a.example], ${PORTS} }`, "9:13: unknown field `domain` in `to`: did you mean `domains`?"],
    [`{ domains: [], ${PORTS} }`, "9:22: `domains` is empty: leave it out, or name at least one"],
    [`{ domains: [A.example], ${PORTS} }`, "9:23: `A.example` is not in canonical form: write `a.example`"],
    [`{ domains: [10.0.0.1], ${PORTS} }`, "9:23: `10.0.0.1` is an address, not a name: use `cidrs`"],
    [
      `{ domains: [1], ${PORTS} }`,
      "9:23: `domains[0]` must be text (in quotes if it looks like something else), not `1`",
    ],
    [`{ domains: a.example, ${PORTS} }`, "9:22: `domains` must be a list, not the text `a.example`"],
    ["{ cidrs: [] }", "9:20: `cidrs` is empty: leave it out, or name at least one"],
    ["{ cidrs: [10.0.0.1/8] }", "9:21: `10.0.0.1/8` has bits set after the prefix: write `10.0.0.0/8`"],
    ["{ except: [10.0.0.0/8] }", "9:21: `except` is given without `cidrs`: add the ranges it is taken out of"],
    [
      "{ cidrs: [10.0.0.0/8], except: [11.0.0.0/16] }",
      "9:43: `11.0.0.0/16` lies in none of `cidrs`: take it out, or add the range around it",
    ],
    ["{ ports: [] }", "9:20: `ports` is empty: leave it out to mean every port"],
    ["{ ports: [{ port: 0 }] }", "9:29: `port` must be a whole number from 1 to 65535, not `0`"],
    ["{ ports: [{ port: http }] }", "9:29: `port` must be a whole number from 1 to 65535, not the text `http`"],
    ["{ ports: [{ port: 9, endPort: 8 }] }", "9:41: `endPort` 8 is below `port` 9: swap them"],
    ["{ ports: [{ endPort: 8 }] }", "9:32: `endPort` is given without `port`: add the first port as `port`"],
    [
      "{ ports: [{ protocol: ICMP, port: 8 }] }",
      "9:45: `ICMP` takes no port: leave `port` out, or write an entry for each of `TCP`, `UDP`, `SCTP`",
    ],
    [
      "{ ports: [{ protocol: tcp }] }",
      "9:33: `protocol` must be `TCP`, `UDP`, `SCTP`, `ICMP` or `Any`, not `tcp`: did you mean `TCP`?",
    ],
    [
      "{ group: Big_One }",
      "9:20: `Big_One` is no object name: use lower-case letters, digits, `-` and dots, up to 253 characters",
    ],
    ["{ http: { methods: [get] } }", "9:31: `get` is no HTTP method of a rule: use upper case, as in `GET`"],
    ["{ http: { methods: [] } }", "9:30: `methods` is empty: leave it out to mean every method"],
    ["{ http: { paths: [{}] } }", "9:29: a path says nothing: give one of `exact`, `prefix`, `suffix`, `regex`"],
    [
      "{ http: { paths: [{ exact: /a, prefix: /b }] } }",
      "9:29: a path takes exactly one of `exact`, `prefix`, `suffix`, `regex`: write an entry for each",
    ],
    ["{ http: { paths: [{ prefix: a }] } }", "9:39: the path `a` does not start with `/`: write `/a`"],
    ["{ http: { paths: [{ prefix: /a/../b }] } }", "9:39: the path `/a/../b` holds `//`, `.` or `..`: write `/b`"],
    ["{ http: { paths: [{ exact: '/a?b=c' }] } }", "9:38: the path `/a?b=c` holds a query or fragment: write `/a`"],
    [
      "{ http: { paths: [{ exact: /%7euser }] } }",
      "9:38: the path `/%7euser` is not spelt as requests are read: write `/~user`",
    ],
    [
      "{ http: { paths: [{ exact: /a%2fb }] } }",
      "9:38: the path `/a%2fb` holds an encoded slash, backslash or control character, which requests are refused for: no request path is spelt so",
    ],
    [
      "{ http: { paths: [{ regex: '(' }] } }",
      "9:38: the regular expression `(` does not compile (missing closing ): `(`): use RE2 syntax",
    ],
    [
      "{ http: { paths: [{ regex: '(?=a)' }] } }",
      expect.stringMatching(/^9:38: the regular expression `\(\?=a\)` does not compile/),
    ],
    [
      "{ http: {}, tls: { required: true } }",
      "9:40: `http` reads plaintext only and `tls.required` refuses it: write an entry for each",
    ],
  ])("%s", (entry, message) => {
    expect(problemsOf(withDestination(entry))).toEqual([message]);
  });

  test("`encryptedClientHello: Deny` stands on an Allow only", () => {
    const entry = "{ domains: [a.example], ports: [{ port: 443 }], tls: { encryptedClientHello: Deny } }";
    expect(problemsOf(withDestination(entry))).toEqual([]);
    expect(problemsOf(withDestination(entry, "Pass"))).toEqual([
      "9:88: `encryptedClientHello: Deny` is for `Allow` rules, and this one is `Pass`: leave it out",
    ]);
  });

  test("names and ranges as they should be raise nothing", () => {
    const entry =
      "{ domains: ['*.a.example', b.example], cidrs: [10.0.0.0/8, '2001:db8::/32'], except: [10.1.0.0/16], ports: [{ port: 1, endPort: 9 }, { protocol: UDP, port: 99 }, { protocol: ICMP }] }";
    expect(problemsOf(withDestination(entry))).toEqual([]);
  });
});

describe("rules", () => {
  test.each([
    ["{ name: a, action: Allow, to: [] }", "8:36: `to` is empty: leave `to` out to mean every destination"],
    ["{ name: a, action: Allow, to: }", "8:32: `to` has no value: give it a list, or leave it out"],
    [
      "{ name: a, action: Alow }",
      "8:25: `action` must be `Allow`, `Deny`, `Next` or `Pass`, not `Alow`: did you mean `Allow`?",
    ],
    ["{ name: a }", "8:6: `action` is missing: give it `Allow`, `Deny`, `Next` or `Pass`"],
    ["{ action: Deny }", "8:6: `name` is missing: give it text (in quotes if it looks like something else)"],
    [
      "{ name: A b, action: Deny }",
      "8:14: `A b` is no name of this kind: use lower-case letters, digits and `-`, up to 63 characters",
    ],
    [
      "{ name: a, action: Next, whenHidden: Deny }",
      "8:43: `whenHidden` is for `Deny` rules, and this one is `Next`: leave it out",
    ],
    [
      "{ name: a, action: Deny, <<: { to: [] } }",
      "8:31: merge keys (`<<`) are not read: use an alias for a whole value",
    ],
    ["text", "8:6: `rules[0]` must be a map of fields, not the text `text`"],
  ])("%s", (rule, message) => {
    expect(problemsOf(clusterPolicy(`${HEAD}  rules:\n   - ${rule}\n`))).toEqual([message]);
  });

  test("two rules of one name", () => {
    const rules = "  rules:\n   - { name: a, action: Next, to: [{ group: g }] }\n   - { name: a, action: Deny }";
    expect(problemsOf(clusterPolicy(HEAD + rules)).at(-1)).toEqual(
      "9:14: a rule named `a` stands above: give each rule of a policy its own name",
    );
  });
});

describe("policies", () => {
  test.each([
    ["  tier: Admin", "5:3: `defaultDeny` is missing: give it `true` or `false`"],
    ["  tier: Admin\n  defaultDeny: yes", "6:16: `defaultDeny` must be `true` or `false`, not the text `yes`"],
    ["  defaultDeny: true", "5:3: `tier` is missing: give it `Admin` or `Baseline`"],
    ["  tier: Namespace\n  defaultDeny: true", "5:9: `tier` must be `Admin` or `Baseline`, not `Namespace`"],
    [`${HEAD}  priority: 1001`, "7:13: `priority` must be a whole number from 0 to 1000, not `1001`"],
    [`${HEAD}  priority: 1.5`, "7:13: `priority` must be a whole number from 0 to 1000, not `1.5`"],
    [`${HEAD}  Mode: Audit`, "7:3: unknown field `Mode` in `spec`: did you mean `mode`?"],
    [
      `${HEAD}  ingress: []`,
      "7:3: unknown field `ingress` in `spec`: known here are `tier`, `priority`, `mode`, `rules`, `defaultDeny`, `subject`",
    ],
    [`${HEAD}  subject:`, "7:3: `subject` has no value: give it a map of fields, or leave it out"],
    [
      `${HEAD}  subject: { podSelector: { matchLabels: { a: 1 } } }`,
      "7:47: `a` must be text (in quotes if it looks like something else), not `1`",
    ],
    [
      `${HEAD}  subject: { podSelector: { matchLabels: { 'a b': c } } }`,
      "7:44: `a b` is no label key: use `name` or `prefix/name`",
    ],
    [
      `${HEAD}  subject: { podSelector: { matchExpressions: [{ key: a, operator: In, values: [] }] } }`,
      "7:48: `In` on `a` has no values: name at least one in `values`",
    ],
    [
      `${HEAD}  subject: { podSelector: { matchExpressions: [{ key: a, operator: Exists, values: [b] }] } }`,
      "7:84: `Exists` on `a` takes no values: leave `values` out",
    ],
    [
      `${HEAD}  subject: { serviceAccounts: [] }`,
      "7:31: `serviceAccounts` is empty: leave it out to mean every service account",
    ],
  ])("%s", (spec, message) => {
    expect(problemsOf(clusterPolicy(spec))).toEqual([message]);
  });

  test("metadata", () => {
    const policy = (kind: string, metadata: string) =>
      `{ apiVersion: sallyport.dev/v1alpha1, kind: ${kind},\nmetadata: ${metadata},\nspec: { ${kind === "EgressPolicy" ? "" : "tier: Admin, defaultDeny: true"} } }`;
    expect(problemsOf(policy("ClusterEgressPolicy", "{ name: a, namespace: b }"))).toEqual([
      "2:22: `namespace` has no meaning here, for this kind belongs to the whole cluster: leave it out",
    ]);
    expect(problemsOf(policy("EgressPolicy", "{ name: a }"))).toEqual([
      "2:11: `namespace` is missing: give it text (in quotes if it looks like something else)",
    ]);
    expect(problemsOf(policy("EgressPolicy", "{ name: a, namespace: b }"))).toEqual([]);
  });
});

describe("other kinds", () => {
  const document = (kind: string, spec: string) =>
    `apiVersion: sallyport.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: test }\nspec: ${spec}\n`;
  const config = (rest: string) =>
    document(
      "AgentConfig",
      `\n  resolvers: [10.0.0.10]\n  podCIDRs: [10.0.0.0/8]\n  clusterCIDRs: [10.0.0.0/8]\n  ${rest}`,
    );

  test.each([
    [document("DestinationGroup", "{}"), "4:7: the group holds nothing: give it `domains` or `cidrs`"],
    [
      document("DestinationGroup", "{ domains: [a.example], ports: [] }"),
      "4:31: unknown field `ports` in `spec`: known here are `domains`, `cidrs`, `except`",
    ],
    [config("markMask: 0x3e"), "8:13: `0x3e` is no mark mask: use 6 bits in a row, as in `0x3f` or `0x3f00`"],
    [config("markMask: '0x3g'"), "8:13: `0x3g` is no mark mask: use 6 bits in a row, as in `0x3f` or `0x3f00`"],
    [config("resolver: []"), "8:3: unknown field `resolver` in `spec`: did you mean `resolvers`?"],
    [
      config("agentResolvers: [dns.example]"),
      "8:20: `dns.example` is no IP address: write it as `192.0.2.1` or `2001:db8::1`",
    ],
    [config("clusterDomain: cluster.local."), "8:18: `cluster.local.` is not in canonical form: write `cluster.local`"],
    [config("failMode: open"), "8:13: `failMode` must be `Closed` or `Open`, not `open`: did you mean `Open`?"],
    [config("limits: { heldPackets: 0 }"), "8:26: `heldPackets` must be a whole number from 1 to 65536, not `0`"],
    [
      document("AgentConfig", "{ resolvers: [10.0.0.10], podCIDRs: [10.0.0.0/8] }"),
      "4:44: warning: `10.0.0.0/8` lies in none of `clusterCIDRs`, so traffic between pods counts as egress: add its range there",
    ],
  ])("%s", (text, message) => {
    expect(problemsOf(text)).toEqual([message]);
  });
});
