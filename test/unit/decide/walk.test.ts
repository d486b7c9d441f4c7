import { describe, expect, test } from "vitest";
import type { DestinationGroup, Policy } from "../../../src/model/policy.ts";
import {
  allow,
  allowed,
  type Case,
  compileScene,
  decideCase,
  denied,
  deny,
  group,
  hiddenContinues,
  policy,
  rule,
  workload,
} from "../../support/cases.ts";

/** DESIGN §3, sentence by sentence: policies, then what they mean for one pod. */
interface Sentence {
  readonly says: string;
  readonly policies: readonly Policy[];
  readonly groups?: readonly DestinationGroup[];
  readonly rows: readonly Omit<Case, "from">[];
}

const cep = (name: string) => `ClusterEgressPolicy/${name}`;
const team = (name: string) => `EgressPolicy/team/${name}`;
const site = { domains: ["a.test"], ports: ["TCP 443"] };
const to = "https://a.test/";

const sentences: readonly Sentence[] = [
  {
    says: "tier comes before priority",
    policies: [
      policy("base", [rule("r", "Deny")], { tier: "Baseline", priority: 0 }),
      policy("admin", [rule("r", "Allow", site)], { priority: 1000 }),
    ],
    rows: [{ to, expect: allow(cep("admin"), "r") }],
  },
  {
    says: "priority comes before the name, lower first",
    policies: [
      policy("a", [rule("r", "Deny")], { priority: 11 }),
      policy("z", [rule("r", "Allow", site)], { priority: 9 }),
    ],
    rows: [{ to, expect: allow(cep("z"), "r") }],
  },
  {
    says: "ties go by name",
    policies: [policy("b", [rule("r", "Deny")]), policy("a", [rule("r", "Allow", site)])],
    rows: [{ to, expect: allow(cep("a"), "r") }],
  },
  {
    says: "inside a policy, top down, the first match decides",
    policies: [policy("p", [rule("first", "Deny", site), rule("second", "Allow", site)])],
    rows: [{ to, expect: deny(cep("p"), "first") }],
  },
  {
    says: "no rule matched and a policy with defaultDeny selects: denied",
    policies: [policy("guard", [], { defaultDeny: false }), policy("p", [])],
    rows: [{ to, expect: denied() }],
  },
  {
    says: "a guardrail isolates nobody",
    policies: [policy("guard", [rule("bad", "Deny", { domains: ["bad.test"] })], { defaultDeny: false })],
    rows: [
      { to, expect: allowed("NotIsolated") },
      { to: "https://bad.test/", expect: deny(cep("guard"), "bad") },
      { to: "dns://bad.test", expect: allowed("NotIsolated") },
      { to: "udp://198.51.100.53:53", expect: allowed("NotIsolated") },
    ],
  },
  {
    says: "Next leaves the policy, not the tier",
    policies: [
      policy("a", [rule("next", "Next", site), rule("deny", "Deny")]),
      policy("b", [rule("ok", "Allow", site)]),
    ],
    rows: [
      { to, expect: allow(cep("b"), "ok") },
      { to: "dns://a.test", expect: allow(cep("b"), "ok") },
      { to: "https://b.test/", expect: deny(cep("a"), "deny") },
      { to: "dns://b.test", expect: deny(cep("a"), "deny") },
    ],
  },
  {
    says: "Pass leaves the tier: Admin passes a group, denies the rest, and teams allow within it",
    policies: [
      policy("ceiling", [rule("delegate", "Pass", { group: "partners" }), rule("rest", "Deny")]),
      policy("unseen", [rule("r", "Deny")], { priority: 1000 }),
      policy("own", [rule("a", "Allow", site), rule("b", "Allow", { domains: ["b.test"] })], { namespace: "team" }),
    ],
    groups: [group("partners", { domains: ["a.test", "*.partner.test"], cidrs: ["198.51.100.0/24"] })],
    rows: [
      { to, expect: allow(team("own"), "a") },
      { to: "https://b.test/", expect: deny(cep("ceiling"), "rest") },
      { to: "https://x.partner.test/", expect: denied() },
      { to: "tcp://198.51.100.1:22", expect: denied() },
      { to: "dns://a.test", expect: allow(team("own"), "a") },
      { to: "dns://x.partner.test", expect: denied() },
      // b.test may resolve into the group's range, where the team allows it
      { to: "dns://b.test", expect: allow(team("own"), "b") },
    ],
  },
  {
    says: "Pass out of Baseline reaches the default",
    policies: [policy("base", [rule("p", "Pass"), rule("r", "Allow", site)], { tier: "Baseline" })],
    rows: [{ to, expect: denied() }],
  },
  {
    says: "an EgressPolicy selects in its own namespace only",
    policies: [policy("other", [rule("r", "Deny")], { namespace: "elsewhere" })],
    rows: [{ to, expect: allowed("NotIsolated") }],
  },
  {
    says: "`to` entries are ORed, the fields of one entry are ANDed",
    policies: [
      policy("p", [
        rule(
          "r",
          "Allow",
          { domains: ["a.test"], cidrs: ["198.51.100.0/24"] },
          { cidrs: ["203.0.113.0/24"], ports: ["TCP 22"] },
        ),
      ]),
    ],
    rows: [
      { to: "tcp://203.0.113.4:22", expect: allow(cep("p"), "r") },
      { to: "tcp://203.0.113.4:23", expect: denied() },
      { to: "https://198.51.100.1/", expect: denied() },
      { to, expect: denied() },
    ],
  },
  {
    says: "`except` is taken out of `cidrs`",
    policies: [policy("p", [rule("r", "Allow", { cidrs: ["0.0.0.0/0"], except: ["203.0.113.0/24"] })])],
    rows: [
      { to: "tcp://198.51.100.1:22", expect: allow(cep("p"), "r") },
      { to: "tcp://203.0.113.1:22", expect: denied() },
      { to: "tcp://[2001:db8::1]:22", expect: denied() },
      // a name that resolved to something, nobody knows what, is in 0.0.0.0/0
      { to, expect: allow(cep("p"), "r") },
    ],
  },
  {
    says: "a name that resolved to something is in no range but the whole of IPv4",
    policies: [
      policy("p", [
        rule("bogons", "Deny", { cidrs: ["0.0.0.0/8", "240.0.0.0/4", "10.0.0.0/8"] }),
        rule("ok", "Allow", site),
      ]),
    ],
    rows: [{ to, expect: allow(cep("p"), "ok") }],
  },
  {
    says: "`::/0` is every IPv6 address and no IPv4 address",
    policies: [policy("p", [rule("r", "Allow", { cidrs: ["::/0"] })])],
    rows: [
      { to: "tcp://[2001:db8::1]:22", expect: allow(cep("p"), "r") },
      { to: "tcp://203.0.113.1:22", expect: denied() },
    ],
  },
  {
    says: "a group's domains and cidrs are ORed; it is ANDed with the entry's other fields",
    policies: [policy("p", [rule("r", "Allow", { group: "g", ports: ["TCP 443"] })])],
    groups: [group("g", { domains: ["a.test"], cidrs: ["198.51.100.0/24"], except: ["198.51.100.7/32"] })],
    rows: [
      { to, expect: allow(cep("p"), "r") },
      { to: "tcp://198.51.100.1:443", expect: allow(cep("p"), "r") },
      { to: "tcp://198.51.100.7:443", expect: denied() },
      { to: "tcp://a.test:22", expect: denied() },
      { to: "dns://a.test", expect: allow(cep("p"), "r") },
    ],
  },
  {
    says: "the gate asks an entry's own domains and its group's",
    policies: [
      policy("p", [
        rule("no", "Deny", { group: "g" }),
        rule("both", "Allow", { domains: ["b.test"], group: "h" }),
        rule("group", "Allow", { group: "h", ports: ["TCP 22"], cidrs: ["203.0.113.0/24"] }),
      ]),
    ],
    groups: [group("g", { domains: ["a.test"] }), group("h", { domains: ["c.test"], cidrs: ["198.51.100.0/24"] })],
    rows: [
      { to: "dns://a.test", expect: deny(cep("p"), "no") },
      { to: "dns://b.test", expect: allow(cep("p"), "both") },
      { to: "dns://c.test", expect: allow(cep("p"), "group") },
      { to: "dns://d.test", expect: denied() },
    ],
  },
  {
    says: "an entry's own domains hold, whatever its group holds",
    policies: [policy("p", [rule("both", "Allow", { domains: ["b.test"], group: "h" })])],
    groups: [group("h", { domains: ["c.test"], cidrs: ["198.51.100.0/24"] })],
    rows: [{ to: "dns://c.test", expect: denied() }],
  },
  {
    says: "a group that is not there: nothing for an Allow",
    policies: [policy("p", [rule("r", "Allow", { group: "gone" })])],
    rows: [
      { to, expect: denied() },
      { to: "dns://a.test", expect: denied() },
    ],
  },
  {
    says: "a group that is not there: everything for a Deny",
    policies: [policy("p", [rule("r", "Deny", { group: "gone" }), rule("ok", "Allow", site)])],
    rows: [
      { to, expect: deny(cep("p"), "r") },
      { to: "dns://a.test", expect: deny(cep("p"), "r") },
    ],
  },
  {
    says: "evidence is required on ports 80 and 443, elsewhere binding suffices",
    policies: [policy("p", [rule("r", "Allow", { domains: ["a.test"] })])],
    rows: [
      { to: "tcp://a.test:22", expect: allow(cep("p"), "r") },
      { to: "icmp://a.test", expect: allow(cep("p"), "r") },
      { to: "tcp://a.test:443", expect: denied("NameMissing") },
      { to: "udp://a.test:80", expect: denied("NameMissing") },
      { to: "https://a.test:8443/", expect: allow(cep("p"), "r") },
      { to: "https://a.test:8443/", ip: "203.0.113.9", expect: denied("NotResolved") },
      { to: "quic://a.test", expect: allow(cep("p"), "r") },
    ],
  },
  {
    says: "evidence is required wherever the rule has `tls` or `http`",
    policies: [
      policy("p", [
        rule("tls", "Allow", { domains: ["a.test"], ports: ["TCP 8443"], tls: "required" }),
        rule("http", "Allow", { domains: ["a.test"], ports: ["TCP 8080"], methods: ["GET"] }),
      ]),
    ],
    rows: [
      { to: "https://a.test:8443/", expect: allow(cep("p"), "tls") },
      { to: "tcp://a.test:8443", expect: denied() },
      { to: "http://a.test:8443/", expect: denied() },
      { to: "http://a.test:8080/", expect: allow(cep("p"), "http") },
      { to: "http://a.test:8080/", method: "POST", expect: denied() },
      { to: "tcp://a.test:8080", expect: denied() },
    ],
  },
  {
    says: "an address rule needs neither binding nor evidence",
    policies: [policy("p", [rule("r", "Allow", { cidrs: ["203.0.113.0/24"] })])],
    rows: [
      { to: "https://203.0.113.1/", expect: allow(cep("p"), "r") },
      { to, ip: "203.0.113.1", expect: allow(cep("p"), "r") },
      { to: "icmp://203.0.113.1", expect: allow(cep("p"), "r") },
      { to: "dns://a.test", expect: denied() },
    ],
  },
  {
    says: "a domain Deny says yes on binding or evidence",
    policies: [
      policy("p", [rule("bad", "Deny", { domains: ["*.bad.test"] }), rule("ok", "Allow", { cidrs: ["0.0.0.0/0"] })]),
    ],
    rows: [
      { to: "https://x.bad.test/", expect: deny(cep("p"), "bad") },
      { to: "https://x.bad.test/", ip: "203.0.113.1", expect: deny(cep("p"), "bad") },
      { to: "tcp://x.bad.test:22", expect: deny(cep("p"), "bad") },
      { to: "https://bad.test/", expect: allow(cep("p"), "ok") },
      { to: "tcp://203.0.113.1:22", expect: allow(cep("p"), "ok") },
    ],
  },
  {
    says: "a flow that hides its name meets a domain Deny",
    policies: [
      policy("p", [rule("bad", "Deny", { domains: ["bad.test"] }), rule("ok", "Allow", { cidrs: ["0.0.0.0/0"] })]),
    ],
    rows: [
      { to: "https://203.0.113.1/", expect: deny(cep("p"), "bad", "NameHidden") },
      { to: "quic://203.0.113.1", expect: deny(cep("p"), "bad", "NameHidden") },
      { to: "http://203.0.113.1/", expect: allow(cep("p"), "ok") },
    ],
  },
  {
    says: "`whenHidden: Continue` opts out",
    policies: [
      policy("p", [
        hiddenContinues(rule("bad", "Deny", { domains: ["bad.test"] })),
        rule("ok", "Allow", { cidrs: ["0.0.0.0/0"] }),
      ]),
    ],
    rows: [
      { to: "https://203.0.113.1/", expect: allow(cep("p"), "ok") },
      { to: "https://bad.test/", expect: deny(cep("p"), "bad") },
    ],
  },
  {
    says: "`*` is any name",
    policies: [policy("p", [rule("r", "Allow", { domains: ["*"], ports: ["TCP 443"] })])],
    rows: [
      { to, expect: allow(cep("p"), "r") },
      { to, ip: "203.0.113.1", expect: denied("NotResolved") },
      { to: "https://203.0.113.1/", expect: denied() },
      { to: "dns://whatever.test", expect: allow(cep("p"), "r") },
    ],
  },
  {
    says: "port 53 of another server needs an Allow that names ports; what an Allow without ports covers is not enough",
    policies: [
      policy("p", [
        rule("all", "Allow", { cidrs: ["0.0.0.0/0"] }),
        rule("dns", "Allow", { cidrs: ["198.51.100.53/32"], ports: ["UDP 53"] }),
      ]),
    ],
    rows: [
      { to: "udp://198.51.100.53:53", expect: allow(cep("p"), "dns") },
      { to: "tcp://198.51.100.53:53", expect: denied("OtherResolver") },
      { to: "udp://203.0.113.53:53", expect: denied("OtherResolver") },
      { to: "udp://203.0.113.53:54", expect: allow(cep("p"), "all") },
    ],
  },
  {
    says: "an Allow of everything opens every port but another server's 53",
    policies: [policy("p", [rule("all", "Allow")])],
    rows: [
      { to: "tcp://203.0.113.1:22", expect: allow(cep("p"), "all") },
      { to: "udp://203.0.113.1:53", expect: denied("OtherResolver") },
    ],
  },
  {
    says: "paths are exact, prefix, suffix or a regular expression on the whole path",
    policies: [
      policy("p", [
        rule("r", "Allow", {
          domains: ["a.test"],
          paths: [
            { kind: "exact", value: "/exact" },
            { kind: "prefix", value: "/in/" },
            { kind: "suffix", value: ".txt" },
            { kind: "regex", value: "/v[0-9]+/x" },
          ],
        }),
      ]),
    ],
    rows: [
      { to: "http://a.test/exact", expect: allow(cep("p"), "r") },
      { to: "http://a.test/exact/", expect: denied() },
      { to: "http://a.test/in/side", expect: allow(cep("p"), "r") },
      { to: "http://a.test/in/../out", expect: denied() },
      { to: "http://a.test/deep/a.txt?download", expect: allow(cep("p"), "r") },
      { to: "http://a.test/v12/x", expect: allow(cep("p"), "r") },
      { to: "http://a.test/v12/xy", expect: denied() },
      { to: "http://a.test/0/v12/x", expect: denied() },
      { to, expect: denied() },
    ],
  },
  {
    says: "Audit policies neither decide nor isolate",
    policies: [policy("trial", [rule("r", "Deny")], { mode: "Audit" })],
    rows: [{ to, expect: allowed("NotIsolated") }],
  },
  {
    says: "the gate stops at a Deny that certainly matches and goes on past one that only may",
    policies: [
      policy("p", [
        rule("never", "Deny", { domains: ["x.a.test"] }),
        rule("port", "Deny", { domains: ["*.a.test"], ports: ["TCP 80"] }),
        rule("range", "Deny", { cidrs: ["0.0.0.0/0"] }),
        rule("ok", "Allow", { domains: ["*.a.test"] }),
        rule("everywhere", "Deny", { cidrs: ["0.0.0.0/0", "::/0"] }),
        rule("late", "Allow", { domains: ["b.test"] }),
      ]),
    ],
    rows: [
      { to: "dns://x.a.test", expect: deny(cep("p"), "never") },
      { to: "dns://y.a.test", expect: allow(cep("p"), "ok") },
      { to: "dns://b.test", expect: deny(cep("p"), "everywhere") },
    ],
  },
];

describe.each(sentences)("$says", ({ policies, groups = [], rows }) => {
  const scene = { policies, groups, workloads: [workload(1, "team/app")] };
  const program = compileScene(scene);
  test.each(rows)("$to $ip", (row) => {
    expect(decideCase(scene, program, { from: "team/app", ...row })).toMatchObject(row.expect);
  });
});
