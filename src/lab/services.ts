import { type AddressPair, GATEWAY, OUTSIDE, PORTS, PUBLISHED, SERVICES } from "./addresses.ts";
import { DNS_POD, type Layout, podOf, WEB_POD } from "./layout.ts";

interface Translation {
  readonly from: AddressPair;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly to: AddressPair;
}

/** Every address a node translates: three Services with an inside and an outside endpoint, and one public address. */
export function translations(layout: Layout): readonly Translation[] {
  const dns = podOf(layout, `${DNS_POD.namespace}/${DNS_POD.name}`).address;
  const web = podOf(layout, `${WEB_POD.namespace}/${WEB_POD.name}`).address;
  return [
    { from: SERVICES.dns, protocol: "udp", port: 53, to: dns },
    { from: SERVICES.dns, protocol: "tcp", port: 53, to: dns },
    { from: SERVICES.partner, protocol: "tcp", port: 22, to: OUTSIDE.partner },
    { from: SERVICES.web, protocol: "tcp", port: 80, to: web },
    { from: SERVICES.evil, protocol: "tcp", port: 80, to: OUTSIDE.evil },
    { from: PUBLISHED, protocol: "tcp", port: 80, to: web },
  ];
}

/**
 * The tables a node translates Service addresses with, at the hooks and priorities of kube-proxy: forwarded traffic in
 * prerouting, the node's own in output.
 *
 *   table ip lab_services {
 *     chain translate  { ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.1.10 ... }
 *     chain prerouting { type nat hook prerouting priority dstnat; jump translate }
 *     chain output     { type nat hook output priority -100; jump translate }
 *   }
 */
export function serviceRules(layout: Layout): string {
  const table = (family: "ip" | "ip6", key: keyof AddressPair) => `table ${family} lab_services {
  chain translate {
${translations(layout)
  .map(
    ({ from, protocol, port, to }) => `    ${family} daddr ${from[key]} ${protocol} dport ${port} dnat to ${to[key]}`,
  )
  .join("\n")}
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump translate
  }
  chain output {
    type nat hook output priority -100; policy accept;
    jump translate
  }
}
`;
  return table("ip", "ipv4") + table("ip6", "ipv6");
}

/** Pod traffic that leaves the cluster's pod ranges wears the node's address. */
export function masqueradeRules(): string {
  const table = (family: "ip" | "ip6", pods: string) => `table ${family} lab_nat {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ${family} saddr ${pods} ${family} daddr != ${pods} masquerade
  }
}
`;
  return table("ip", "10.244.0.0/16") + table("ip6", "fd00:244::/32");
}

/**
 * What the outside does with packets before its servers see them: counts them by destination as they arrive, then
 * sends the echo ports of every address to one echo server. `payload` counts TCP segments that carry data: under a
 * gate that lets handshakes pass, that is what must not arrive.
 */
export function outsideRules(): string {
  const { first, last, server } = PORTS.echo;
  const sets = (family: "ip" | "ip6", name: string) => `
  set ports_${name} {
    typeof ${family} daddr . meta l4proto . th dport
    size 65535
    flags dynamic
    counter
  }
  set payload_${name} {
    typeof ${family} daddr . meta l4proto . th dport
    size 65535
    flags dynamic
    counter
  }
  set protocols_${name} {
    typeof ${family} daddr . meta l4proto
    size 65535
    flags dynamic
    counter
  }`;
  const rules = (family: "ip" | "ip6", name: string) => `
    meta nfproto ${name} meta l4proto { tcp, udp, sctp } update @ports_${name} { ${family} daddr . meta l4proto . th dport }
    meta nfproto ${name} meta l4proto tcp @ih,0,8 0-255 update @payload_${name} { ${family} daddr . meta l4proto . th dport }
    meta nfproto ${name} meta l4proto != { tcp, udp, sctp } update @protocols_${name} { ${family} daddr . meta l4proto }`;
  const echo = (family: "ip" | "ip6", key: keyof AddressPair) => `table ${family} lab_echo {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "eth0" tcp dport ${first}-${last} dnat to ${bracket(GATEWAY[key])}:${server}
    iifname "eth0" udp dport != ${PORTS.dns} dnat to ${bracket(GATEWAY[key])}:${server}
  }
}
`;
  return `table inet lab_seen {${sets("ip", "ipv4")}${sets("ip6", "ipv6")}
  chain arrivals {
    type filter hook prerouting priority raw; policy accept;
    iifname != "eth0" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-query, mld-listener-report, mld2-listener-report } accept
    ${rules("ip", "ipv4")}${rules("ip6", "ipv6")}
  }
}
${echo("ip", "ipv4")}${echo("ip6", "ipv6")}`;
}

function bracket(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
