import { type Address, ipv4, isIPv4 } from "../../net/address.ts";
import type { Program } from "../../program/program.ts";

/**
 * Whether an address may be bound to a name at all. Who owns a zone under an allowed pattern can point a name at anything
 * (rebinding, EVASION 47): without this, `*.partner.example` would open the metadata service of the cloud, the node, or
 * a pod to whoever writes that zone. So loopback, link-local, multicast, unspecified and metadata addresses are bound to
 * no name, and addresses inside the cluster only to names under the cluster domain. Other private ranges are: services of
 * a company have such addresses. To reach one of the refused on purpose, write an address rule.
 */
export function isBindable(program: Program, name: string, address: Address): boolean {
  const plain = embeddedIPv4(address) ?? address;
  if (isIPv4(plain) ? isSpecialIPv4(plain.w3) : isSpecialIPv6(plain)) return false;
  if (program.isNode(plain)) return false;
  return !program.isInside(plain, 0, 0) || isUnder(name, program.clusterDomain);
}

/** `name` is `domain` or lies below it. Both canonical; nothing lies under "". */
export function isUnder(name: string, domain: string): boolean {
  if (domain === "" || !name.endsWith(domain)) return false;
  return name.length === domain.length || name[name.length - domain.length - 1] === ".";
}

const METADATA_IPV4: ReadonlySet<number> = new Set([
  0x646464c8, // 100.100.100.200
  0xa83f8110, // 168.63.129.16
  0xc00000c0, // 192.0.0.192
]);

function isSpecialIPv4(value: number): boolean {
  const first = value >>> 24;
  return (
    first === 0 ||
    first === 127 ||
    first >= 224 || // multicast, reserved, broadcast
    value >>> 16 === 0xa9fe || // 169.254.0.0/16
    METADATA_IPV4.has(value)
  );
}

function isSpecialIPv6({ w0, w1, w2, w3 }: Address): boolean {
  const first = w0 >>> 16;
  return (
    (w0 === 0 && w1 === 0 && w2 === 0) || // ::, ::1 and IPv4-compatible
    first >= 0xff00 ||
    (first & 0xffc0) === 0xfe80 ||
    (w0 === 0xfd000ec2 && w1 === 0 && w2 === 0 && w3 === 0x254) || // fd00:ec2::254
    (w0 === 0xfd2000ce && w1 === 0 && w2 === 0 && w3 === 0x254) // fd20:ce::254
  );
}

/** What a NAT64 (RFC 6052 §2.1, 64:ff9b::/96) or 6to4 (RFC 3056 §2) address leads to; null: it is neither. */
function embeddedIPv4(address: Address): Address | null {
  if (address.w0 === 0x0064ff9b && address.w1 === 0 && address.w2 === 0) return ipv4(address.w3);
  if (address.w0 >>> 16 === 0x2002) return ipv4(((address.w0 << 16) | (address.w1 >>> 16)) >>> 0);
  return null;
}
