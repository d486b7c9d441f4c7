/** Destination ports of one protocol, `from` and `to` included. All ports, or a protocol without ports: 0..65535. */
export interface PortRange {
  /** IP protocol number; 0 is any protocol. ICMP (1) stands for ICMPv6 too. */
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
}

export const ANY_PROTOCOL = 0;
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
export const SCTP = 132;

/** As policies name them. */
export const PROTOCOL_NAMES = ["TCP", "UDP", "SCTP", "ICMP", "Any"] as const;
export type ProtocolName = (typeof PROTOCOL_NAMES)[number];

const NUMBERS: Readonly<Record<ProtocolName, number>> = { TCP, UDP, SCTP, ICMP, Any: ANY_PROTOCOL };

export const MAX_PORT = 65535;

export function protocolNumber(name: ProtocolName): number {
  return NUMBERS[name];
}

/** `TCP`, …; a protocol without a name of its own is its number in decimal. */
export function protocolName(protocol: number): string {
  if (protocol === ICMPV6) return "ICMP";
  return PROTOCOL_NAMES.find((name) => NUMBERS[name] === protocol) ?? String(protocol);
}

export function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP || protocol === SCTP;
}

/** Every port of `protocol`. */
export function everyPort(protocol: number): PortRange {
  return { protocol, from: 0, to: MAX_PORT };
}

export function portsContain(range: PortRange, protocol: number, port: number): boolean {
  return (range.protocol === ANY_PROTOCOL || range.protocol === protocol) && port >= range.from && port <= range.to;
}

/** Every protocol and port of `inner` is in `outer`. */
export function portsCover(outer: PortRange, inner: PortRange): boolean {
  return (
    (outer.protocol === ANY_PROTOCOL || outer.protocol === inner.protocol) &&
    outer.from <= inner.from &&
    outer.to >= inner.to
  );
}

/** `TCP 443`, `UDP 1000-2000`, `ICMP`, `Any`. */
export function formatPorts(range: PortRange): string {
  const name = protocolName(range.protocol);
  if (range.protocol === ANY_PROTOCOL && range.from === 0 && range.to === MAX_PORT) return "Any";
  if (range.from === 0 && range.to === MAX_PORT) return name;
  return range.from === range.to ? `${name} ${range.from}` : `${name} ${range.from}-${range.to}`;
}
