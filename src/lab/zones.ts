import { CLUSTER_DOMAIN, OUTSIDE, SERVICES, SITES } from "./addresses.ts";
import type { Layout } from "./layout.ts";

/** One record of the outside's authoritative zones; `name` and `data` as in a zone file (RFC 1035 §5). */
export interface ZoneRecord {
  readonly zone: string;
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

/** Short, so that a changed record shows soon; the pool's is 0, so that every question is answered anew. */
const TTL = 5;

/**
 * An ECHConfigList of one config (RFC 9849 §4), version 0xfe0d, X25519 with a made-up key, public name
 * `public.github.com`: enough for a client to try, and for a gate to strip.
 */
const ECH = Buffer.concat([
  Buffer.from("0044fe0d0040010020 0020".replaceAll(" ", ""), "hex"),
  Buffer.alloc(32, 0x5a),
  Buffer.from("00040001000100 11".replaceAll(" ", ""), "hex"),
  Buffer.from("public.github.com"),
  Buffer.from("0000", "hex"),
]);

/** Names that are there to be misused; the rest of the names are those of `SITES`. */
const TRICKS: readonly ZoneRecord[] = [
  // Allowed name, denied target, and the honest twins.
  record("github.com", "assets.github.com", "CNAME", "evil.example."),
  record("github.com", "docs.github.com", "CNAME", "pages.github.com."),
  record("weather.gov", "www2.weather.gov", "CNAME", "api.weather.gov."),
  record("evil.example", "alias.evil.example", "CNAME", "api.github.com."),
  // Rebinding: an allowed name that points at cloud metadata, and one that points inside.
  record("github.com", "rebind.github.com", "A", OUTSIDE.metadata.ipv4),
  record("github.com", "rebind.github.com", "AAAA", OUTSIDE.metadata.ipv6),
  record("github.com", "internal.github.com", "A", SERVICES.web.ipv4),
  record("github.com", "internal.github.com", "AAAA", SERVICES.web.ipv6),
  // An allowed name whose address is the denied server's.
  record("github.com", "parked.github.com", "A", OUTSIDE.evil.ipv4),
  record("github.com", "parked.github.com", "AAAA", OUTSIDE.evil.ipv6),
  record(
    "github.com",
    "ech.github.com",
    "HTTPS",
    `1 . alpn=h2 ipv4hint=${OUTSIDE.githubEch.ipv4} ipv6hint=${OUTSIDE.githubEch.ipv6} ech="${echConfigList()}"`,
  ),
  record("github.com", "github.com", "TXT", '"lab"'),
];

function record(zone: string, name: string, type: string, data: string, ttl = TTL): ZoneRecord {
  return { zone, name, type, ttl, data };
}

/** The ECH configuration that `ech.github.com` publishes, in base64. */
export function echConfigList(): string {
  return ECH.toString("base64");
}

/** Every record of every outside zone. */
export function outsideRecords(): readonly ZoneRecord[] {
  const sites = SITES.flatMap(({ zone, name, addresses }) => {
    const ttl = name === "pool.github.com" ? 0 : TTL;
    return addresses.flatMap(({ ipv4, ipv6 }) => [
      record(zone, name, "A", ipv4, ttl),
      record(zone, name, "AAAA", ipv6, ttl),
    ]);
  });
  return [...sites, ...TRICKS];
}

/** The zones served outside, the root among them: a name that is nowhere gets an honest NXDOMAIN. */
export function outsideZones(): readonly string[] {
  return [".", ...new Set(outsideRecords().map((one) => one.zone))];
}

/** The zone file of one outside zone. */
export function zoneText(zone: string): string {
  const lines = [
    `@ 5 IN SOA ns.lab-nameserver. hostmaster.lab-nameserver. 1 3600 600 86400 1`,
    `@ 5 IN NS ns.lab-nameserver.`,
    ...outsideRecords()
      .filter((one) => one.zone === zone)
      .map((one) => `${one.name}. ${one.ttl} IN ${one.type} ${one.data}`),
  ];
  if (zone === ".") {
    lines.push(`ns.lab-nameserver. 5 IN A ${OUTSIDE.nameserver.ipv4}`);
    lines.push(`ns.lab-nameserver. 5 IN AAAA ${OUTSIDE.nameserver.ipv6}`);
  }
  return `$ORIGIN ${zone === "." ? "." : `${zone}.`}\n${lines.join("\n")}\n`;
}

/** The names under the cluster domain, as the lab's cluster resolver serves them. */
export function clusterRecords(layout: Layout): readonly { name: string; ipv4: string; ipv6: string }[] {
  const services = [
    { name: "kube-dns.kube-system", ...SERVICES.dns },
    { name: "partner-svc.default", ...SERVICES.partner },
    { name: "web-svc.inside-ns", ...SERVICES.web },
    { name: "evil-svc.default", ...SERVICES.evil },
  ].map((one) => ({ ...one, name: `${one.name}.svc.${CLUSTER_DOMAIN}` }));
  const pods = layout.pods.map((pod) => ({
    ...pod.address,
    name: `${pod.address.ipv4.replaceAll(".", "-")}.${pod.namespace}.pod.${CLUSTER_DOMAIN}`,
  }));
  return [...services, ...pods];
}
