import type { Packet } from "./ip.ts";
import { half, word } from "./network-order.ts";

const MAPPED = 0xffff;
const PORTS = 4;

/**
 * Reads addresses, protocol and ports from the beginning of a TCP or UDP packet in `buf[start, end)`, of which the rest may be
 * missing. Only for packets that nft found to be without IPv4 options and IPv6 extension headers; nothing but these fields
 * is read, and `into.end` is where the copy ends. False: too short, or no IP.
 */
export function readFirstBytes(buf: Uint8Array, start: number, end: number, into: Packet): boolean {
  if (start >= end || end > buf.length) return false;
  const version = buf[start]! >>> 4;
  const header = version === 4 ? 20 : 40;
  if ((version !== 4 && version !== 6) || end - start < header + PORTS) return false;
  into.bytes = buf;
  into.version = version;
  into.start = start;
  into.end = end;
  into.transport = start + header;
  into.fragment = false;
  into.fragmentOffset = into.icmpType = into.icmpCode = into.icmpId = 0;
  into.problem = null;
  if (version === 4) readAddresses4(buf, start, into);
  else readAddresses6(buf, start, into);
  into.sourcePort = half(buf, into.transport);
  into.destinationPort = half(buf, into.transport + 2);
  return true;
}

function readAddresses4(buf: Uint8Array, at: number, into: Packet): void {
  into.ttl = buf[at + 8]!;
  into.protocol = buf[at + 9]!;
  into.s0 = into.s1 = into.d0 = into.d1 = 0;
  into.s2 = into.d2 = MAPPED;
  into.s3 = word(buf, at + 12);
  into.d3 = word(buf, at + 16);
}

function readAddresses6(buf: Uint8Array, at: number, into: Packet): void {
  into.protocol = buf[at + 6]!;
  into.ttl = buf[at + 7]!;
  into.s0 = word(buf, at + 8);
  into.s1 = word(buf, at + 12);
  into.s2 = word(buf, at + 16);
  into.s3 = word(buf, at + 20);
  into.d0 = word(buf, at + 24);
  into.d1 = word(buf, at + 28);
  into.d2 = word(buf, at + 32);
  into.d3 = word(buf, at + 36);
}
