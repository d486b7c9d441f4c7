import type { Scenario } from "./scenario.ts";

const SOURCES = "sources: [NetworkPolicy, ClusterNetworkPolicy]";
const config = `{resolvers: [10.96.0.10], podCIDRs: [10.200.0.0/24], clusterCIDRs: [10.200.0.0/16, 10.96.0.0/12], ${SOURCES}}`;

const DNS = "{to: [{namespaceSelector: {}}], ports: [{protocol: UDP, port: 53}]}";
const np = (rules: string) => `{podSelector: {}, policyTypes: [Egress], egress: [${rules}]}`;
const cnp = (tier: string, priority: number, rules: string, subject = "namespaces: {}") =>
  `{tier: ${tier}, priority: ${priority}, subject: {${subject}}, egress: [${rules}]}`;

/** As upstream means them: networking.k8s.io/v1, and policy.networking.k8s.io/v1alpha2. */
export const STANDARD: readonly Scenario[] = [
  {
    about: "NetworkPolicy: whom it isolates",
    config,
    documents: {
      "NetworkPolicy/app1-ns/listed": "{podSelector: {matchLabels: {tier: web}}, policyTypes: [Egress]}",
      "NetworkPolicy/app2-ns/by-rules": "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}",
      "NetworkPolicy/other-ns/no-types": "{podSelector: {}}",
      "NetworkPolicy/kube-system/ingress-only": "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}",
    },
    rows: [
      "tcp://203.0.113.1:80 => Deny listed#default-deny RuleMatched",
      "icmp://203.0.113.1 => Deny listed#default-deny",
      "dns://a.example => Deny listed#default-deny",
      "dns://web.app2-ns.svc.cluster.local => Allow - ClusterDomain",
      "tcp://10.200.0.77:80 => Allow - Inside",
      "app1-ns/plain tcp://203.0.113.1:80 => Allow - NotIsolated",
      "app2-ns/app2 tcp://203.0.113.1:80 => Allow by-rules#egress[0]",
      "app2-ns/app2 tcp://203.0.114.1:80 => Deny by-rules#default-deny",
      "other-ns/app1 tcp://203.0.113.1:80 => Allow - NotIsolated",
      "kube-system/coredns tcp://203.0.113.1:80 => Allow - NotIsolated",
    ],
  },
  {
    about: "NetworkPolicy: the union of all that select a pod",
    config,
    documents: {
      "NetworkPolicy/app1-ns/a": np("{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}"),
      "NetworkPolicy/app1-ns/b": np(
        "{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{protocol: UDP, port: 443}]}, {to: [{ipBlock: {cidr: 198.51.100.0/24}}]}",
      ),
      "NetworkPolicy/app1-ns/c": "{podSelector: {matchLabels: {tier: web}}, egress: [{ports: [{port: 22}]}]}",
    },
    rows: [
      "tcp://203.0.113.1:443 => Allow a#egress[0]",
      "udp://203.0.113.1:443 => Allow b#egress[0]",
      "tcp://198.51.100.1:1 => Allow b#egress[1]",
      "udp://198.51.100.1:53 => Allow b#egress[1]",
      "tcp://192.0.2.1:22 => Allow c#egress[0]",
      "tcp://192.0.2.1:23 => Deny a#default-deny",
      "app1-ns/plain tcp://192.0.2.1:22 => Deny a#default-deny",
    ],
  },
  {
    about: "NetworkPolicy: blocks, exceptions, ports",
    config,
    documents: {
      "NetworkPolicy/app1-ns/p": np(
        [
          "{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26, 203.0.113.7/32]}}], ports: [{port: 1000, endPort: 2000}, {protocol: UDP}]}",
          "{to: [{ipBlock: {cidr: '2001:db8::1/32', except: ['2001:db8:1::/48']}}]}",
          "{to: [{ipBlock: {cidr: 198.51.100.9/24}}, {podSelector: {}}], ports: [{protocol: SCTP, port: 3868}]}",
          "{to: [{ipBlock: {cidr: 192.0.2.0/25}}], ports: [{port: https}, {protocol: UDP, port: dns}]}",
          "{ports: [{port: metrics}, {port: 9000}]}",
          "{to: [{podSelector: {}}, {namespaceSelector: {}}]}",
        ].join(", "),
      ),
    },
    rows: [
      "tcp://203.0.113.1:999 => Deny p#default-deny",
      "tcp://203.0.113.1:1000 => Allow p#egress[0]",
      "tcp://203.0.113.1:2000 => Allow p#egress[0]",
      "tcp://203.0.113.1:2001 => Deny p#default-deny",
      "udp://203.0.113.1:1 => Allow p#egress[0]",
      "icmp://203.0.113.1 => Deny p#default-deny",
      "tcp://203.0.113.7:1000 => Deny p#default-deny",
      "tcp://203.0.113.64:1000 => Deny p#default-deny",
      "tcp://203.0.113.128:1000 => Allow p#egress[0]",
      "tcp://[2001:db8:2::1]:1 => Allow p#egress[1]",
      "icmp://[2001:db8:2::1] => Allow p#egress[1]",
      "tcp://[2001:db8:1::1]:1 => Deny p#default-deny",
      "sctp://198.51.100.1:3868 => Allow p#egress[2]",
      "tcp://198.51.100.1:3868 => Deny p#default-deny",
      "tcp://192.0.2.1:443 => Deny p#default-deny",
      "udp://192.0.2.1:53 => Deny p#default-deny",
      "tcp://192.0.2.1:9000 => Allow p#egress[4]",
      "tcp://192.0.2.1:9001 => Deny p#default-deny",
      "https://a.example/ --ip 192.0.2.1 => Deny p#default-deny",
    ],
  },
  {
    about: "NetworkPolicy: everything, and its resolvers",
    config,
    documents: {
      "NetworkPolicy/app1-ns/all": np("{}"),
      "NetworkPolicy/app2-ns/asks": np(`${DNS}, {to: [{ipBlock: {cidr: 203.0.113.0/24}}]}`),
      "NetworkPolicy/other-ns/silent": np(
        "{to: [{namespaceSelector: {}}], ports: [{port: 80}]}, {to: [{ipBlock: {cidr: 203.0.113.0/24}}]}",
      ),
    },
    rows: [
      "https://a.example/ => Allow all#egress[0]",
      "udp://198.51.100.53:53 => Allow all#egress[0]",
      "dns://a.example => Allow - NotIsolated",
      "app2-ns/app2 dns://a.example => Allow - NotIsolated",
      "app2-ns/app2 udp://10.96.0.10:53 => Allow - TrustedResolver",
      "app2-ns/app2 udp://198.51.100.53:53 => Deny asks#default-deny",
      "other-ns/app1 dns://a.example => Deny silent#default-deny",
      "other-ns/app1 tcp://203.0.113.1:443 => Allow silent#egress[1]",
    ],
  },
  {
    about: "ClusterNetworkPolicy: tiers, priorities, Pass",
    config,
    documents: {
      "ClusterNetworkPolicy/first": cnp(
        "Admin",
        1,
        "{action: Accept, to: [{networks: [203.0.113.1/32]}]}, {action: Deny, to: [{networks: [203.0.113.0/30]}]}, {action: Pass, to: [{networks: [203.0.113.0/28]}]}",
      ),
      "ClusterNetworkPolicy/second": cnp("Admin", 2, "{action: Deny, to: [{networks: [203.0.113.0/24]}]}"),
      "ClusterNetworkPolicy/base": cnp(
        "Baseline",
        0,
        "{action: Accept, to: [{networks: [203.0.113.4/32]}]}, {action: Deny, to: [{networks: [203.0.113.4/31]}]}, {action: Pass, to: [{networks: [203.0.113.6/32]}]}, {action: Deny, to: [{networks: [0.0.0.0/0]}], protocols: [{tcp: {destinationPort: {number: 25}}}]}",
      ),
      "NetworkPolicy/app1-ns/np": np(
        "{to: [{ipBlock: {cidr: 203.0.113.5/32}}]}, {to: [{ipBlock: {cidr: 192.0.2.0/24}}]}",
      ),
    },
    rows: [
      "tcp://203.0.113.1:1 => Allow first#egress[0]",
      "tcp://203.0.113.2:1 => Deny first#egress[1]",
      "tcp://203.0.113.5:1 => Allow np#egress[0]",
      "tcp://203.0.113.6:1 => Deny np#default-deny",
      "tcp://203.0.113.77:1 => Deny second#egress[0]",
      "tcp://192.0.2.1:25 => Allow np#egress[1]",
      "tcp://198.51.100.1:1 => Deny np#default-deny",
      "app2-ns/app2 tcp://203.0.113.1:1 => Allow first#egress[0]",
      "app2-ns/app2 tcp://203.0.113.4:1 => Allow base#egress[0]",
      "app2-ns/app2 tcp://203.0.113.5:1 => Deny base#egress[1]",
      "app2-ns/app2 tcp://203.0.113.6:25 => Allow - NotIsolated",
      "app2-ns/app2 tcp://203.0.113.77:1 => Deny second#egress[0]",
      "app2-ns/app2 tcp://198.51.100.1:25 => Deny base#egress[3]",
      "app2-ns/app2 tcp://198.51.100.1:26 => Allow - NotIsolated",
      "kube-system/coredns tcp://203.0.113.77:1 => Deny second#egress[0]",
    ],
  },
  {
    about: "ClusterNetworkPolicy: subjects, peers inside, protocols, ingress",
    config,
    documents: {
      "ClusterNetworkPolicy/red": cnp(
        "Admin",
        0,
        "{action: Deny, to: [{networks: ['::/0', 0.0.0.0/0]}], protocols: [{tcp: {destinationPort: {range: {start: 20, end: 30}}}}, {sctp: {destinationPort: {number: 9}}}]}",
        "pods: {namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}",
      ),
      "ClusterNetworkPolicy/inside": cnp(
        "Admin",
        1,
        "{action: Deny, to: [{namespaces: {}}, {pods: {podSelector: {}}}]}, {action: Deny, to: [{pods: {podSelector: {}}}, {networks: [192.0.2.0/24]}]}, {action: Deny, to: [{namespaces: {}}], protocols: [{destinationNamedPort: web}]}",
      ),
      "ClusterNetworkPolicy/in-only":
        "{tier: Admin, priority: 0, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
    },
    rows: [
      "tcp://198.51.100.1:19 => Allow - NotIsolated",
      "tcp://198.51.100.1:20 => Deny red#egress[0]",
      "tcp://198.51.100.1:30 => Deny red#egress[0]",
      "tcp://[2001:db8::1]:30 => Deny red#egress[0]",
      "udp://198.51.100.1:30 => Allow - NotIsolated",
      "sctp://198.51.100.1:9 => Deny red#egress[0]",
      "app1-ns/plain tcp://198.51.100.1:20 => Allow - NotIsolated",
      "tcp://192.0.2.1:443 => Deny inside#egress[1]",
      "tcp://10.200.0.77:443 => Allow - Inside",
      "dns://a.example => Allow - NotIsolated",
    ],
  },
  {
    about: "ClusterNetworkPolicy: names",
    config,
    documents: {
      "ClusterNetworkPolicy/names": cnp(
        "Admin",
        10,
        "{action: Accept, to: [{domainNames: [API.Example.com., '*.test.example']}], protocols: [{tcp: {destinationPort: {number: 443}}}, {tcp: {destinationPort: {number: 25}}}]}, {action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}",
        "namespaces: {matchLabels: {team: red}}",
      ),
      "ClusterNetworkPolicy/names-and-dns": cnp(
        "Admin",
        10,
        "{action: Accept, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}}], protocols: [{udp: {destinationPort: {number: 53}}}]}, {action: Accept, to: [{domainNames: [api.example.com]}]}, {action: Deny, to: [{networks: [0.0.0.0/0, '::/0']}]}",
        "namespaces: {matchLabels: {team: blue}}",
      ),
    },
    rows: [
      "https://api.example.com/ => Allow names#egress[0]",
      "https://api.example.com/ --ip 198.51.100.1 => Deny names#egress[1]",
      "https://example.com/ => Deny names#egress[1]",
      "https://x.test.example/ => Allow names#egress[0]",
      "https://y.x.test.example/ => Allow names#egress[0]",
      "https://test.example/ => Deny names#egress[1]",
      "http://api.example.com/ => Deny names#egress[1]",
      "tcp://api.example.com:25 => Allow names#egress[0]",
      "https://198.51.100.1/ => Deny names#egress[1]",
      "dns://api.example.com => Allow names#egress[0]",
      "dns://a.test.example => Allow names#egress[0]",
      "dns://evil.example => Deny names#egress[1]",
      "app2-ns/app2 https://api.example.com/ => Allow names-and-dns#egress[1]",
      "app2-ns/app2 https://evil.example/ => Deny names-and-dns#egress[2]",
      "app2-ns/app2 dns://evil.example => Allow - NotIsolated",
    ],
  },
  {
    about: "standard policies narrow, and never open what Sallyport's own deny",
    config,
    documents: {
      "ClusterEgressPolicy/own": `{tier: Admin, priority: 1, defaultDeny: true, subject: {podSelector: {matchLabels: {tier: web}}}, rules: [
        {name: api, action: Allow, to: [{domains: [api.example.com], ports: [{port: 443}]}]},
        {name: net, action: Allow, to: [{cidrs: [198.51.100.0/24]}]}]}`,
      "EgressPolicy/app2-ns/guard":
        "{defaultDeny: false, subject: {}, rules: [{name: no-ssh, action: Deny, to: [{ports: [{port: 22}]}]}]}",
      "NetworkPolicy/app1-ns/np": np(`${DNS}, {ports: [{port: 443}]}`),
      "NetworkPolicy/app2-ns/np2": np("{}"),
      "ClusterNetworkPolicy/cnp": cnp("Admin", 0, "{action: Accept, to: [{networks: [192.0.2.7/32]}]}"),
    },
    rows: [
      "https://api.example.com/ => Allow own#api",
      "https://evil.example/ => Deny - DefaultDeny",
      "tcp://198.51.100.1:443 => Allow own#net",
      "tcp://198.51.100.1:80 => Deny np#default-deny",
      "tcp://192.0.2.7:443 => Deny - DefaultDeny",
      "udp://198.51.100.53:53 => Deny np#default-deny",
      "dns://api.example.com => Allow own#api",
      "dns://evil.example => Deny - DefaultDeny",
      "app1-ns/plain https://evil.example/ => Allow np#egress[1]",
      "app1-ns/plain tcp://192.0.2.7:9 => Allow cnp#egress[0]",
      "app2-ns/app2 tcp://192.0.2.9:22 => Deny guard#no-ssh",
      "app2-ns/app2 tcp://192.0.2.9:23 => Allow np2#egress[0]",
    ],
  },
  {
    about: "standard policies that are not listed are not read",
    config: config.replace(SOURCES, "sources: [ClusterNetworkPolicy]"),
    documents: {
      "NetworkPolicy/app1-ns/np": np(""),
      "ClusterNetworkPolicy/cnp": cnp("Admin", 0, "{action: Deny, to: [{networks: [192.0.2.7/32]}]}"),
    },
    rows: ["tcp://192.0.2.1:1 => Allow - NotIsolated", "tcp://192.0.2.7:1 => Deny cnp#egress[0]"],
  },
];
