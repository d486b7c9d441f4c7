import { OUTSIDE } from "../../src/lab/addresses.ts";

/** A row that is decided on paper, and tried with a real client. */
export interface StandardCase {
  readonly from: string;
  readonly to: string;
  readonly ip?: string;
  readonly family?: 4 | 6;
  readonly action: "Allow" | "Deny";
  /** `Kind[/namespace]/name` and the rule; null: none decides. */
  readonly by: readonly [policy: string, rule: string] | null;
}

export interface StandardPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** In namespaces without labels of their own. */
export const STANDARD_PODS: readonly StandardPod[] = [
  { namespace: "shop", name: "cart", labels: { app: "cart" } },
  { namespace: "shop", name: "search" },
  { namespace: "silent", name: "job" },
  { namespace: "build", name: "runner" },
  { namespace: "free", name: "any" },
];

const { evil, partner, githubApi, weatherApi, dnsGoogle, openResolver } = OUTSIDE;

export const STANDARD_SOURCES = ["NetworkPolicy", "ClusterNetworkPolicy"];

/** What the rows are about. */
export const STANDARD_DOCUMENTS = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: dns, namespace: shop }
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - to: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } } }]
      ports: [{ protocol: UDP, port: dns }, { protocol: TCP, port: 53 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: cart, namespace: shop }
spec:
  podSelector: { matchLabels: { app: cart } }
  egress:
    - to:
        - ipBlock: { cidr: 203.0.113.1/24, except: [${evil.ipv4}/32] }
        - ipBlock: { cidr: "2001:db8:113::/48", except: ["${evil.ipv6}/128"] }
    - to: [{ ipBlock: { cidr: 0.0.0.0/0, except: [203.0.113.0/24] } }]
      ports: [{ port: 443 }, { protocol: UDP, port: 50, endPort: 60 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: deny, namespace: silent }
spec: { podSelector: {}, policyTypes: [Ingress, Egress] }
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: admin }
spec:
  tier: Admin
  priority: 7
  subject: { namespaces: {} }
  egress:
    - { name: not this one, action: Deny, to: [{ networks: ["${weatherApi.ipv4}/32", "${weatherApi.ipv6}/128"] }] }
    - action: Pass
      to: [{ networks: ["${evil.ipv4}/32"] }]
      protocols: [{ tcp: { destinationPort: { range: { start: 79, end: 81 } } } }]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: base }
spec:
  tier: Baseline
  priority: 0
  subject: { namespaces: { matchLabels: { kubernetes.io/metadata.name: build } } }
  egress:
    - { action: Accept, to: [{ domainNames: ["*.github.com"] }], protocols: [{ tcp: { destinationPort: { number: 443 } } }] }
    - { action: Deny, to: [{ networks: [0.0.0.0/0, "::/0"] }] }
`;

const ADMIN = "ClusterNetworkPolicy/admin";
const BASE = "ClusterNetworkPolicy/base";
const CART = "NetworkPolicy/shop/cart";
const DNS = "NetworkPolicy/shop/dns";
const DENY = "NetworkPolicy/silent/deny";
const CLOSED = "default-deny";
const NAMES = "egress[0]";

const row = (from: string, to: string, action: "Allow" | "Deny", by: StandardCase["by"], more: object = {}) =>
  ({ from, to, action, by, ...more }) satisfies StandardCase;
const cart = row.bind(null, "shop/cart");
const search = row.bind(null, "shop/search");
const job = row.bind(null, "silent/job");
const runner = row.bind(null, "build/runner");
const any = row.bind(null, "free/any");

export const STANDARD_CASES: readonly StandardCase[] = [
  cart(`tcp://${partner.ipv4}:22`, "Allow", [CART, "egress[0]"]),
  cart(`tcp://[${partner.ipv6}]:22`, "Allow", [CART, "egress[0]"]),
  cart(`icmp://${partner.ipv4}`, "Allow", [CART, "egress[0]"]),
  cart(`http://${evil.ipv4}/`, "Deny", [CART, CLOSED]),
  cart(`http://[${evil.ipv6}]/`, "Deny", [CART, CLOSED]),
  cart("https://api.github.com/", "Allow", [CART, "egress[1]"], { family: 4 }),
  cart("https://api.github.com/", "Allow", [CART, "egress[1]"], { ip: githubApi.ipv4 }),
  cart("https://api.weather.gov/", "Deny", [ADMIN, "egress[0] not this one"], { ip: weatherApi.ipv4 }),
  cart(`tcp://${dnsGoogle.ipv4}:25`, "Deny", [CART, CLOSED]),
  cart(`udp://${openResolver.ipv4}:53`, "Allow", [CART, "egress[1]"]),
  cart(`tcp://${openResolver.ipv4}:53`, "Deny", [CART, CLOSED]),
  search(`tcp://${partner.ipv4}:22`, "Deny", [DNS, CLOSED]),
  search("dns://api.github.com", "Allow", null),
  job("dns://api.github.com", "Deny", [DENY, CLOSED]),
  job("dns://kube-dns.kube-system.svc.cluster.local", "Allow", null),
  job(`icmp://${partner.ipv4}`, "Deny", [DENY, CLOSED]),
  runner("https://api.github.com/", "Allow", [BASE, NAMES], { family: 4 }),
  runner("https://api.github.com/", "Allow", [BASE, NAMES], { family: 6 }),
  runner("https://api.github.com/", "Deny", [BASE, "egress[1]"], { ip: evil.ipv4 }),
  runner("http://api.github.com/", "Deny", [BASE, "egress[1]"]),
  runner("dns://api.github.com", "Allow", [BASE, NAMES]),
  runner("dns://evil.example", "Deny", [BASE, "egress[1]"]),
  runner(`http://${evil.ipv4}/`, "Deny", [BASE, "egress[1]"]),
  any(`http://${evil.ipv4}/`, "Allow", null),
  any("https://api.weather.gov/", "Deny", [ADMIN, "egress[0] not this one"], { ip: weatherApi.ipv6 }),
];
