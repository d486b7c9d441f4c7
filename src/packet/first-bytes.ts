import { type Packet, readIPv4Ends, readIPv6Ends, resetPacket } from "./ip.ts";
import { half } from "./network-order.ts";

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
  resetPacket(into, buf, start);
  into.version = version;
  into.end = end;
  into.transport = start + header;
  if (version === 4) readIPv4Ends(buf, start, into);
  else {
    into.protocol = buf[start + 6]!;
    readIPv6Ends(buf, start, into);
  }
  into.sourcePort = half(buf, into.transport);
  into.destinationPort = half(buf, into.transport + 2);
  return true;
}
