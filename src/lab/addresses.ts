/** An address of each family, in text form. */
export interface AddressPair {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** A name of the lab's outside world that a web server stands behind. */
export interface Site {
  readonly name: string;
  readonly zone: string;
  readonly addresses: readonly AddressPair[];
}

const segment = (host: number): AddressPair => ({ ipv4: `192.0.2.${host}`, ipv6: `2001:db8:2::${host}` });
const outside100 = (host: number): AddressPair => ({ ipv4: `198.51.100.${host}`, ipv6: `2001:db8:100::${host}` });
const outside113 = (host: number): AddressPair => ({ ipv4: `203.0.113.${host}`, ipv6: `2001:db8:113::${host}` });
const service = (ipv4: string, ipv6: string): AddressPair => ({ ipv4, ipv6 });

/** The segment that joins the nodes to their gateway, which is the outside. Node `n` is host `10 + n`. */
export const GATEWAY = segment(1);

/** The node's address on the segment; nodes count from 1. */
export function nodeAddress(node: number): AddressPair {
  return segment(10 + node);
}

export const MAX_NODES = 200;

/** Inside ranges: pods (one /24 and one /64 a node) and services. */
export const CLUSTER_RANGES = ["10.244.0.0/16", "fd00:244::/32", "10.96.0.0/16", "fd00:96::/112"] as const;
export const CLUSTER_DOMAIN = "cluster.local";

/** The pod ranges of one node, and the address its pods use as gateway. */
export function podRange(node: number): { ipv4: string; ipv6: string; gateway: AddressPair } {
  return {
    ipv4: `10.244.${node}.0/24`,
    ipv6: `fd00:244:${node}::/64`,
    gateway: { ipv4: `10.244.${node}.1`, ipv6: `fd00:244:${node}::1` },
  };
}

/** The address of a pod from its host number (10..250) on a node. */
export function podAddress(node: number, host: number): AddressPair {
  return { ipv4: `10.244.${node}.${host}`, ipv6: `fd00:244:${node}::${host}` };
}

/** Every address the outside answers on. */
export const OUTSIDE = {
  nameserver: outside100(1),
  /** `dns.google`: a resolver on port 53, a server that speaks first on TCP 25. */
  dnsGoogle: outside100(8),
  github: outside100(20),
  githubApi: outside100(21),
  githubRaw: outside100(22),
  githubGist: outside100(23),
  githubSsh: outside100(24),
  githubPages: outside100(25),
  githubEch: outside100(26),
  weatherApi: outside100(40),
  weatherWww: outside100(41),
  weatherForecast: outside100(42),
  /** Untrusted: answers every question with the address of `evil`. DNS on 53, DNS over TLS on 853. */
  openResolver: outside100(53),
  partner: outside113(10),
  evil: outside113(66),
  /** Stands behind an allowed name and behind a denied one. */
  cdn: outside113(80),
  /** Cloud metadata, which `rebind.github.com` points at. */
  metadata: { ipv4: "169.254.169.254", ipv6: "fd00:ec2::254" },
} as const satisfies Record<string, AddressPair>;

/** The addresses behind `crowd.github.com`: too many for one DNS datagram, so clients come again by TCP. */
export const CROWD: readonly AddressPair[] = Array.from({ length: 60 }, (_, index) => outside113(100 + index));

/** The addresses behind `pool.github.com`, whose records have TTL 0. */
export const POOL: readonly AddressPair[] = CROWD.slice(0, 12);

/** A public address that the node translates to the inside pod `inside-ns/web`. Nothing outside answers on it. */
export const PUBLISHED = outside113(200);

/** Service addresses, translated on every node. */
export const SERVICES = {
  dns: service("10.96.0.10", "fd00:96::a"),
  /** Port 22 → `partner`. */
  partner: service("10.96.1.10", "fd00:96::110"),
  /** Port 80 → `inside-ns/web`. */
  web: service("10.96.1.20", "fd00:96::120"),
  /** Port 80 → `evil`. */
  evil: service("10.96.1.66", "fd00:96::166"),
} as const satisfies Record<string, AddressPair>;

/** Ports of the outside. `echo` takes every TCP port of its range and every UDP port but 53, on every address. */
export const PORTS = {
  http: [80, 8080],
  https: [443, 8443],
  ssh: [22, 2222],
  smtp: 25,
  dns: 53,
  dnsOverTls: 853,
  echo: { first: 20000, last: 65535, server: 7 },
} as const;

const site = (zone: string, name: string, ...addresses: AddressPair[]): Site => ({ zone, name, addresses });

/** Every web site of the outside: DNS names, certificates and virtual hosts are made from this list. */
export const SITES: readonly Site[] = [
  site("github.com", "github.com", OUTSIDE.github),
  site("github.com", "api.github.com", OUTSIDE.githubApi),
  site("github.com", "raw.github.com", OUTSIDE.githubRaw),
  site("github.com", "gist.github.com", OUTSIDE.githubGist),
  site("github.com", "ssh.github.com", OUTSIDE.githubSsh),
  site("github.com", "pages.github.com", OUTSIDE.githubPages),
  site("github.com", "ech.github.com", OUTSIDE.githubEch),
  site("github.com", "cdn.github.com", OUTSIDE.cdn),
  site("github.com", "pool.github.com", ...POOL),
  site("github.com", "crowd.github.com", ...CROWD),
  site("weather.gov", "api.weather.gov", OUTSIDE.weatherApi),
  site("weather.gov", "www.weather.gov", OUTSIDE.weatherWww),
  site("weather.gov", "forecast.weather.gov", OUTSIDE.weatherForecast),
  site("dns.google", "dns.google", OUTSIDE.dnsGoogle),
  site("partner.example", "partner.example", OUTSIDE.partner),
  site("evil.example", "evil.example", OUTSIDE.evil),
  site("evil.example", "shop.evil.example", OUTSIDE.cdn),
  site("denied.example", "denied.example", OUTSIDE.evil),
];
