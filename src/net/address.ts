/**
 * An IP address as four 32-bit words, unsigned, network order. IPv4 is held in its mapped form `::ffff:a.b.c.d`
 * (RFC 4291 §2.5.5.2), so that one look-up serves both families. A mapped address that arrives inside an IPv6 header
 * is refused by the packet parser: on the wire it has no business (EVASION 55).
 */
export interface Address {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

const MAPPED = 0xffff;

export function isIPv4(address: Address): boolean {
  return address.w0 === 0 && address.w1 === 0 && address.w2 === MAPPED;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.w3 === b.w3 && a.w2 === b.w2 && a.w1 === b.w1 && a.w0 === b.w0;
}

/** An IPv4 address from its 32-bit value (unsigned, network order). */
export function ipv4(value: number): Address {
  return { w0: 0, w1: 0, w2: MAPPED, w3: value >>> 0 };
}
