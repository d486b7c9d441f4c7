import fc from "fast-check";
import type { Application, Facts } from "../../../src/model/facts.ts";
import type { DestinationGroup, Policy, Rule, RuleAction } from "../../../src/model/policy.ts";
import {
  address,
  agentConfig,
  type EntryText,
  entry,
  facts,
  group,
  labels,
  policy,
  rule,
  workload,
} from "../../support/cases.ts";
import type { World } from "../../support/reference.ts";

/** A universe small enough that rules, names and addresses meet often. */
export const NAMES = ["a.test", "x.a.test", "y.x.a.test", "b.test"] as const;
const PATTERNS = ["a.test", "*.a.test", "x.a.test", "*.x.a.test", "b.test", "*.test", "*"];
const CIDRS = [
  "0.0.0.0/0",
  "::/0",
  "203.0.113.0/24",
  "203.0.113.0/25",
  "203.0.113.7/32",
  "198.51.100.0/24",
  "2001:db8::/32",
  "2001:db8:0:1::/64",
];
const PORTS = ["TCP 443", "TCP 80", "TCP 22", "TCP 1-1024", "UDP 53", "TCP 53", "UDP", "ICMP", "Any", "SCTP 500"];
const ADDRESSES = [
  "203.0.113.7",
  "203.0.113.200",
  "198.51.100.9",
  "192.0.2.1",
  "2001:db8::1",
  "2001:db8:0:1::1",
  "10.96.0.10",
  "10.244.3.3",
  "100.64.0.1",
];
export const PATHS = ["/", "/a", "/a/b"];

/** The workload that policies select or not. */
export const SOURCE = workload(1, "team/app", {
  labels: { app: "web" },
  namespaceLabels: { env: "prod" },
  serviceAccount: "web",
});

const some = <T>(values: readonly T[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>, weight: number) =>
  fc.oneof({ weight, arbitrary }, { weight: 10 - weight, arbitrary: fc.constant(undefined) });

const entryText = fc
  .record({
    domains: maybe(some(PATTERNS), 5),
    cidrs: maybe(some(CIDRS), 3),
    except: maybe(some(CIDRS), 2),
    group: maybe(fc.constantFrom("g1", "g2", "missing"), 2),
    ports: maybe(some(PORTS), 4),
    methods: maybe(fc.constant(["GET"]), 1),
    paths: maybe(
      some([
        { kind: "exact", value: "/a" } as const,
        { kind: "prefix", value: "/a" } as const,
        { kind: "suffix", value: "b" } as const,
        { kind: "regex", value: "/a(/.*)?" } as const,
      ]),
      1,
    ),
    tls: maybe(fc.constantFrom("required" as const, "noEncryptedHello" as const), 1),
  })
  .map((text): EntryText => Object.fromEntries(Object.entries(text).filter(([, value]) => value !== undefined)));

const rules: fc.Arbitrary<Rule[]> = fc
  .array(
    fc.record({
      action: fc.constantFrom(
        "Allow" as const,
        "Allow" as const,
        "Deny" as const,
        "Deny" as const,
        "Next" as const,
        "Pass" as const,
      ),
      to: maybe(fc.array(entryText, { minLength: 1, maxLength: 2 }), 9),
      whenHidden: fc.constantFrom("Deny", "Deny", "Continue"),
    }),
    { maxLength: 4 },
  )
  .map((drafts) =>
    drafts.map(({ action, to, whenHidden }, at) => ({
      name: `r${at}`,
      action,
      to: to?.map(entry) ?? null,
      whenHidden,
    })),
  );

const SUBJECTS = [
  { namespaceSelector: null, podSelector: null, serviceAccounts: null },
  { namespaceSelector: labels({ env: "prod" }), podSelector: labels({ app: "web" }), serviceAccounts: ["web"] },
  { namespaceSelector: null, podSelector: labels({ app: "other" }), serviceAccounts: null },
];

const policies: fc.Arbitrary<Policy[]> = fc
  .array(
    fc.record({
      rules,
      tier: fc.constantFrom("Admin", "Namespace", "Baseline"),
      priority: fc.integer({ min: 0, max: 2 }),
      mode: fc.constantFrom("Enforce", "Enforce", "Enforce", "Audit"),
      defaultDeny: fc.boolean(),
      subject: fc.constantFrom(...SUBJECTS.slice(0, 2), ...SUBJECTS),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((drafts) =>
    drafts.map(({ rules: own, tier, ...more }, at) =>
      policy(`p${at}`, own, { tier, ...more, ...(tier === "Namespace" ? { namespace: "team" } : {}) }),
    ),
  );

const standardEntry = (action: RuleAction) =>
  fc
    .oneof(
      // Of pods inside.
      { weight: 1, arbitrary: fc.constant<EntryText>({ cidrs: [] }) },
      { weight: 3, arbitrary: fc.record<EntryText>({ cidrs: some(CIDRS) }) },
      { weight: 2, arbitrary: fc.record<EntryText>({ cidrs: some(CIDRS), except: some(CIDRS) }) },
      { weight: action === "Accept" ? 4 : 0, arbitrary: fc.record<EntryText>({ domains: some(PATTERNS) }) },
    )
    .chain((where) => maybe(some(PORTS), 4).map((own) => (own === undefined ? where : { ...where, ports: own })));

const standardRules = (...actions: RuleAction[]): fc.Arbitrary<Rule[]> =>
  fc
    .array(
      fc
        .constantFrom(...actions)
        .chain((action) =>
          fc.tuple(fc.constant(action), fc.array(standardEntry(action), { minLength: 1, maxLength: 2 })),
        ),
      { maxLength: 3 },
    )
    .map((drafts) => drafts.map(([action, to], at) => rule(`egress[${at}]`, action, ...to)));

const priority = fc.integer({ min: 0, max: 2 });
const common = { kind: "ClusterNetworkPolicy", defaultDeny: false } as const;
const standard = fc.oneof(
  fc
    .record({
      tier: fc.constantFrom("StandardAdmin" as const, "StandardBaseline" as const),
      priority,
      rules: standardRules("Accept", "Deny", "Pass"),
      subject: fc.constantFrom(...SUBJECTS.slice(0, 1), ...SUBJECTS),
    })
    .map(({ rules: own, ...more }) => policy("", own, { ...common, ...more })),
  fc
    .record({ rules: standardRules("Accept"), subject: fc.constantFrom(SUBJECTS[0]!, SUBJECTS[2]!) })
    .map(({ rules: own, subject }) => {
      const more = { kind: "NetworkPolicy", tier: "NetworkPolicy", namespace: "team", priority: 0 } as const;
      return policy("", own, { ...common, ...more, subject });
    }),
);

/** With some of the standard policies in half of the worlds. */
const allPolicies = fc
  .tuple(policies, fc.oneof(fc.constant<Policy[]>([]), fc.array(standard, { minLength: 1, maxLength: 4 })))
  .map(([own, drafts]) => [...own, ...drafts.map((draft, at) => ({ ...draft, name: `s${at}` }))]);

const groups: fc.Arbitrary<DestinationGroup[]> = fc
  .tuple(fc.tuple(maybe(some(PATTERNS), 7), maybe(some(CIDRS), 5), maybe(some(CIDRS), 2)), some(PATTERNS))
  .map(([[domains = [], cidrs = [], except = []], more]) => [
    group("g1", { domains, cidrs, except }),
    group("g2", { domains: more }),
  ]);

export const world: fc.Arbitrary<World> = fc.record({
  policies: allPolicies,
  groups,
  config: fc.constant(agentConfig({ internalEndpoints: [{ address: address("100.64.0.1"), protocol: 6, port: 443 }] })),
});

export const firstPacket: fc.Arbitrary<Facts> = fc
  .record({
    address: fc.constantFrom(...ADDRESSES.slice(0, 6), ...ADDRESSES).map(address),
    port: fc.constantFrom(443, 443, 80, 22, 53, 500),
    protocol: fc.constantFrom(6, 6, 6, 17, 1, 132, 47),
    names: fc.subarray([...NAMES], { maxLength: 2 }),
    aliases: fc.subarray([...NAMES], { maxLength: 1 }),
    namesFinal: fc.boolean(),
  })
  .map((known) =>
    facts({ ...known, port: known.protocol === 6 || known.protocol === 17 || known.protocol === 132 ? known.port : 0 }),
  );

/** All ways the payload of a flow can turn out, in this universe. */
export function payloads(first: Facts): Facts[] {
  const end = { namesFinal: true, ended: true, encryptedClientHello: false, method: null, path: null };
  const seen = (application: Application, more: Partial<Facts>): Facts => ({ ...first, ...end, application, ...more });
  const silent = [
    seen("Other", { evidence: null }),
    seen("ServerFirst", { evidence: null }),
    seen("DNS", { evidence: null }),
  ];
  if (first.protocol !== 6 && first.protocol !== 17) return [seen("Other", { evidence: null })];
  const hello: Application = first.protocol === 6 ? "TLS" : "QUIC";
  const all = [...silent, seen(hello, { evidence: null, nameHidden: true })];
  for (const evidence of NAMES) {
    all.push(seen(hello, { evidence }), seen(hello, { evidence, encryptedClientHello: true }));
    if (first.protocol === 6) for (const path of PATHS) all.push(seen("HTTP", { evidence, path, method: "GET" }));
  }
  if (first.protocol !== 6) return all;
  return [
    ...all,
    seen("HTTP", { evidence: null, path: "/a", method: "POST" }),
    seen("HTTP", { evidence: null, path: undefined, method: undefined, nameHidden: true }),
  ];
}

/** All bindings that can still be found. */
export function bindings(first: Facts): Facts[] {
  if (first.namesFinal) return [first];
  const found: Facts[] = [first];
  for (const [at, name] of NAMES.entries()) {
    const names = [...new Set([...first.names, name])];
    found.push({ ...first, names }, { ...first, names, aliases: [...first.aliases, NAMES[(at + 1) % NAMES.length]!] });
  }
  return found;
}
