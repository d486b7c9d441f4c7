import { type Address, formatAddress, isIPv4, parseAddress, sameAddress } from "./address.ts";

/**
 * A range of addresses: the first `bits` bits of `base`, 0..128; an IPv4 prefix length has 96 added, as `base` is in mapped form.
 * A range belongs to the family it was written in: `::/0` holds no IPv4 address, although the mapped form lies in it.
 * Whoever looks prefixes up by bits must keep that (`cidrIsIPv4`), or `::/0` would open IPv4.
 */
export interface Cidr {
  readonly base: Address;
  readonly bits: number;
}

export type CidrResult =
  | { readonly ok: true; readonly cidr: Cidr }
  | { readonly ok: false; readonly problem: string; readonly suggestion?: string };

const MAPPED_BITS = 96;

export function cidrIsIPv4(cidr: Cidr): boolean {
  return cidr.bits >= MAPPED_BITS && isIPv4(cidr.base);
}

/** `203.0.113.0/24`, `2001:db8::/32`. `problem` is one line; `suggestion` the text that would be right, where there is one. */
export function parseCidr(text: string): CidrResult {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === null)
    return { ok: false, problem: `\`${text}\` is no address range: write it as \`203.0.113.0/24\`` };
  const v4 = isIPv4(address);
  if (v4 && text.includes(":")) {
    const plain = formatAddress(address);
    return {
      ok: false,
      problem: `\`${text}\` is an IPv4 address in IPv6 form: write \`${plain}\` with its IPv4 prefix`,
    };
  }
  const width = v4 ? 32 : 128;
  if (slash < 0) {
    const suggestion = `${formatAddress(address)}/${width}`;
    return { ok: false, problem: `\`${text}\` has no prefix length: write \`${suggestion}\``, suggestion };
  }
  const length = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(length) || Number(length) > width) {
    return { ok: false, problem: `\`${text}\` has the prefix length \`${length}\`: use 0 to ${width}` };
  }
  const cidr = cidrOf(address, Number(length) + (v4 ? MAPPED_BITS : 0));
  if (!sameAddress(cidr.base, address)) {
    const suggestion = formatCidr(cidr);
    return { ok: false, problem: `\`${text}\` has bits set after the prefix: write \`${suggestion}\``, suggestion };
  }
  return { ok: true, cidr };
}

/** The range of `bits` bits (IPv4 prefix + 96) that holds `address`. */
export function cidrOf(address: Address, bits: number): Cidr {
  const base = {
    w0: (address.w0 & wordMask(bits)) >>> 0,
    w1: (address.w1 & wordMask(bits - 32)) >>> 0,
    w2: (address.w2 & wordMask(bits - 64)) >>> 0,
    w3: (address.w3 & wordMask(bits - 96)) >>> 0,
  };
  return { base, bits };
}

function wordMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0;
}

export function cidrContains(cidr: Cidr, address: Address): boolean {
  const { base, bits } = cidr;
  if (bits < MAPPED_BITS && isIPv4(address)) return false;
  return (
    ((base.w0 ^ address.w0) & wordMask(bits)) === 0 &&
    ((base.w1 ^ address.w1) & wordMask(bits - 32)) === 0 &&
    ((base.w2 ^ address.w2) & wordMask(bits - 64)) === 0 &&
    ((base.w3 ^ address.w3) & wordMask(bits - 96)) === 0
  );
}

/** Every address of `inner` is in `outer`. */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return outer.bits <= inner.bits && cidrIsIPv4(outer) === cidrIsIPv4(inner) && cidrContains(outer, inner.base);
}

export function sameCidr(a: Cidr, b: Cidr): boolean {
  return a.bits === b.bits && sameAddress(a.base, b.base);
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.base)}/${cidrIsIPv4(cidr) ? cidr.bits - MAPPED_BITS : cidr.bits}`;
}
