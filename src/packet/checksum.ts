import type { Packet } from "./ip.ts";

/**
 * The Internet checksum (RFC 1071). Sums are kept unfolded while they grow: 64 KiB of bytes stay far below 2^53.
 */
export function sumBytes(buf: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let at = start;
  for (; at + 1 < end; at += 2) sum += (buf[at]! << 8) | buf[at + 1]!;
  return at < end ? sum + (buf[at]! << 8) : sum;
}

/** Folds a sum and complements it: the value of the checksum field, 0 to 0xffff. */
export function finishChecksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/**
 * Sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) for `length` bytes of `protocol`. One formula serves both
 * families: the mapped form of an IPv4 address adds 0xffff, which is zero in one's complement arithmetic.
 */
export function pseudoHeaderSum(packet: Packet, protocol: number, length: number): number {
  return (
    halves(packet.s0) +
    halves(packet.s1) +
    halves(packet.s2) +
    halves(packet.s3) +
    halves(packet.d0) +
    halves(packet.d1) +
    halves(packet.d2) +
    halves(packet.d3) +
    protocol +
    length
  );
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}
