import { CLUSTER_DOMAIN, OUTSIDE } from "./addresses.ts";
import type { Layout } from "./layout.ts";
import { clusterRecords, outsideZones } from "./zones.ts";

/** knot: the authoritative server of every outside zone. Changes through its control socket live in memory only. */
export function knotConfig(directory: string): string {
  return `server:
  rundir: ${directory}/knot
  pidfile: ${directory}/knot/knot.pid
  listen: [${OUTSIDE.nameserver.ipv4}@53, "${OUTSIDE.nameserver.ipv6}@53"]
  udp-workers: 1
  tcp-workers: 2
  background-workers: 1
log:
  - target: stderr
    any: info
control:
  listen: ${knotSocket(directory)}
database:
  storage: ${directory}/knot
  journal-db-max-size: 10M
  kasp-db-max-size: 10M
  timer-db-max-size: 1M
template:
  - id: default
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
zone:
${outsideZones()
  .map((zone) => `  - domain: "${zone}"\n    file: ${zoneFile(directory, zone)}`)
  .join("\n")}
`;
}

export function knotSocket(directory: string): string {
  return `${directory}/knot/knot.sock`;
}

export function zoneFile(directory: string, zone: string): string {
  return `${directory}/zones/${zone === "." ? "root" : zone}.zone`;
}

function unbound(directory: string, listen: readonly string[], more: string): string {
  return `server:
  username: ""
  chroot: ""
  directory: "${directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  log-time-ascii: yes
  num-threads: 1
  msg-cache-size: 1m
  rrset-cache-size: 2m
  module-config: "iterator"
  qname-minimisation: no
  rrset-roundrobin: yes
  minimal-responses: no
  cache-max-negative-ttl: 1
  infra-host-ttl: 5
  infra-keep-probing: yes
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-not-query-localhost: no
${listen.map((address) => `  interface: ${address}`).join("\n")}
${more}
remote-control:
  control-enable: no
`;
}

/** Iterates from the lab's own root; private addresses in answers are passed on, as a plain resolver does. */
const LAB_ROOT = `stub-zone:
  name: "."
  stub-addr: ${OUTSIDE.nameserver.ipv4}
  stub-addr: ${OUTSIDE.nameserver.ipv6}
  stub-no-cache: no
`;

/** The cluster's resolver: the cluster domain from its own data, the rest from outside. */
export function clusterResolverConfig(directory: string, layout: Layout): string {
  const data = clusterRecords(layout).flatMap(({ name, ipv4, ipv6 }) => [
    `  local-data: "${name}. 5 IN A ${ipv4}"`,
    `  local-data: "${name}. 5 IN AAAA ${ipv6}"`,
  ]);
  const zone = `  local-zone: "${CLUSTER_DOMAIN}." static\n${data.join("\n")}`;
  return unbound(directory, ["0.0.0.0", "::0"], zone) + LAB_ROOT;
}

/** `dns.google`: a public resolver that tells the truth. */
export function publicResolverConfig(directory: string): string {
  return unbound(directory, [OUTSIDE.dnsGoogle.ipv4, OUTSIDE.dnsGoogle.ipv6], "") + LAB_ROOT;
}

/** The attacker's resolver: whatever is asked, the answer is the attacker's server. */
export function openResolverConfig(directory: string): string {
  const { ipv4, ipv6 } = OUTSIDE.openResolver;
  return unbound(
    directory,
    [ipv4, ipv6, `${ipv4}@853`, `${ipv6}@853`],
    `  tls-port: 853
  tls-service-key: "${directory}/tls/evil.example.key"
  tls-service-pem: "${directory}/tls/evil.example.pem"
  local-zone: "." redirect
  local-data: ". 5 IN A ${OUTSIDE.evil.ipv4}"
  local-data: ". 5 IN AAAA ${OUTSIDE.evil.ipv6}"
  local-data: ". 5 IN TXT reached=open-resolver"`,
  );
}
