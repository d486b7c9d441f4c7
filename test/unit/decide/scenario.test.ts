import { describe, expect, test } from "vitest";
import {
  allow,
  allowed,
  type Case,
  compileScene,
  decideCase,
  denied,
  labels,
  policy,
  rule,
  type Scene,
  workload,
} from "../../support/cases.ts";

const web = ["TCP 443", "TCP 80"];

function subject(namespace: string, ruleset: string) {
  return {
    namespaceSelector: labels({ "kubernetes.io/metadata.name": namespace }),
    podSelector: labels({ "egress-ruleset": ruleset }),
    serviceAccounts: null,
  };
}

const scene: Scene = {
  policies: [
    policy(
      "app1",
      [
        rule("github", "Allow", { domains: ["*.github.com"], ports: web }),
        rule("partner-ssh", "Allow", { cidrs: ["203.0.113.10/32", "2001:db8::10/128"], ports: ["TCP 22"] }),
      ],
      { priority: 100, subject: subject("app1-ns", "app1") },
    ),
    policy(
      "app2",
      [
        rule("weather", "Allow", { domains: ["api.weather.gov"], ports: ["TCP 443"] }),
        rule("weather-plain", "Allow", {
          domains: ["api.weather.gov"],
          ports: ["TCP 80"],
          paths: [{ kind: "prefix", value: "/points/" }],
        }),
        rule("google-dns", "Allow", { domains: ["dns.google"], ports: ["TCP 25", "UDP 53"] }),
      ],
      { priority: 100, subject: subject("app2-ns", "app2") },
    ),
    policy("nothing-else", [], { priority: 1000 }),
  ],
  workloads: [
    workload(1, "app1-ns/app1", { labels: { "egress-ruleset": "app1" } }),
    workload(2, "app2-ns/app2", { labels: { "egress-ruleset": "app2" } }),
    workload(3, "other-ns/thief", { labels: { "egress-ruleset": "app1" } }),
    workload(4, "app1-ns/plain"),
    workload(5, "kube-system/coredns"),
  ],
};

const app1 = "ClusterEgressPolicy/app1";
const app2 = "ClusterEgressPolicy/app2";

const rows: readonly Case[] = [
  { from: "app1-ns/app1", to: "https://api.github.com/x", expect: allow(app1, "github") },
  { from: "app1-ns/app1", to: "http://gist.github.com/x", expect: allow(app1, "github") },
  { from: "app1-ns/app1", to: "HTTPS://API.GitHub.com./x", expect: allow(app1, "github") },
  { from: "app1-ns/app1", to: "https://a.b.github.com/", expect: allow(app1, "github") },
  { from: "app1-ns/app1", to: "https://github.com/", expect: denied() },
  { from: "app1-ns/app1", to: "https://evilgithub.com/", expect: denied() },
  { from: "app1-ns/app1", to: "https://api.github.com.evil.test/", expect: denied() },
  { from: "app1-ns/app1", to: "https://api.weather.gov/", expect: denied() },
  { from: "app1-ns/app1", to: "quic://api.github.com", expect: denied() },
  { from: "app1-ns/app1", to: "https://api.github.com:8443/", expect: denied() },
  { from: "app1-ns/app1", to: "https://api.github.com/", ip: "198.51.100.66", expect: denied("NotResolved") },
  { from: "app1-ns/app1", to: "http://api.github.com/", ip: "198.51.100.66", expect: denied("NotResolved") },
  { from: "app1-ns/app1", to: "tcp://api.github.com:443", expect: denied("NameMissing") },
  { from: "app1-ns/app1", to: "https://203.0.113.7/", expect: denied() },
  { from: "app1-ns/app1", to: "tcp://203.0.113.10:22", expect: allow(app1, "partner-ssh") },
  { from: "app1-ns/app1", to: "tcp://[2001:db8::10]:22", expect: allow(app1, "partner-ssh") },
  { from: "app1-ns/app1", to: "udp://203.0.113.10:22", expect: denied() },
  { from: "app1-ns/app1", to: "tcp://203.0.113.11:22", expect: denied() },
  { from: "app1-ns/app1", to: "icmp://203.0.113.10", expect: denied() },
  { from: "app1-ns/app1", to: "udp://198.51.100.9:40000", expect: denied() },
  { from: "app1-ns/app1", to: "udp://198.51.100.53:53", expect: denied("OtherResolver") },
  { from: "app1-ns/app1", to: "udp://10.96.0.10:53", expect: allowed("TrustedResolver") },
  { from: "app1-ns/app1", to: "tcp://10.244.3.4:8080", expect: allowed("Inside") },
  { from: "app1-ns/app1", to: "udp://10.244.3.4:53", expect: denied("OtherResolver") },
  { from: "app1-ns/app1", to: "dns://api.github.com", expect: allow(app1, "github") },
  { from: "app1-ns/app1", to: "dns://github.com", expect: denied() },
  { from: "app1-ns/app1", to: "dns://secret.data.evil.test", expect: denied() },
  { from: "app1-ns/app1", to: "dns://web.default.svc.cluster.local", expect: allowed("ClusterDomain") },
  { from: "app2-ns/app2", to: "https://api.weather.gov/points/1,2", expect: allow(app2, "weather") },
  { from: "app2-ns/app2", to: "https://www.weather.gov/", expect: denied() },
  { from: "app2-ns/app2", to: "https://x.api.weather.gov/", expect: denied() },
  { from: "app2-ns/app2", to: "http://api.weather.gov/points/1,2?x=1", expect: allow(app2, "weather-plain") },
  { from: "app2-ns/app2", to: "http://api.weather.gov/a/../points/1", expect: allow(app2, "weather-plain") },
  { from: "app2-ns/app2", to: "http://api.weather.gov/glossary", expect: denied() },
  { from: "app2-ns/app2", to: "tcp://dns.google:25", expect: allow(app2, "google-dns") },
  { from: "app2-ns/app2", to: "udp://dns.google:53", expect: allow(app2, "google-dns") },
  { from: "app2-ns/app2", to: "tcp://dns.google:53", expect: denied("OtherResolver") },
  { from: "app2-ns/app2", to: "https://dns.google/", expect: denied() },
  { from: "app2-ns/app2", to: "udp://dns.google:53", ip: "198.51.100.53", expect: denied("OtherResolver") },
  { from: "other-ns/thief", to: "https://api.github.com/", expect: denied() },
  { from: "app1-ns/plain", to: "https://api.github.com/", expect: denied() },
  { from: "kube-system/coredns", to: "udp://198.51.100.53:53", expect: allowed("NotIsolated") },
  { from: "kube-system/coredns", to: "dns://anything.test", expect: allowed("NotIsolated") },
];

describe("two apps", () => {
  const program = compileScene(scene);
  test.each(rows)("$from → $to $ip", (row) => {
    expect(decideCase(scene, program, row)).toMatchObject(row.expect);
  });
});
