import type { Address } from "../net/address.ts";
import { half, word } from "./network-order.ts";

/**
 * One parsed IP packet. Reused from packet to packet: `parsePacket` overwrites every field. `bytes` is borrowed; all
 * offsets are offsets into it. Addresses are the four words of `Address` (IPv4 in mapped form).
 */
export interface Packet {
  bytes: Uint8Array;
  version: number;
  /** First byte of the IP header. */
  start: number;
  /** One past the last byte of the packet, from the IP length field, not from the size of the buffer. */
  end: number;
  /** First byte after the IP header and its extension headers. */
  transport: number;
  /** Upper-layer protocol number, as on the wire (ICMPv6 is 58). */
  protocol: number;
  /** TTL or hop limit. */
  ttl: number;
  /** Part of a fragmented datagram. An IPv6 atomic fragment (RFC 6946) is not. */
  fragment: boolean;
  /** Offset of this fragment in bytes; where it is not 0, ports and ICMP fields are not there and read 0. */
  fragmentOffset: number;
  s0: number;
  s1: number;
  s2: number;
  s3: number;
  d0: number;
  d1: number;
  d2: number;
  d3: number;
  /** TCP, UDP, SCTP; else 0. */
  sourcePort: number;
  destinationPort: number;
  /** ICMP and ICMPv6; else 0. `icmpId` is the identifier of an echo. */
  icmpType: number;
  icmpCode: number;
  icmpId: number;
  problem: PacketProblem | null;
}

export type PacketProblem =
  | "Truncated"
  | "Version"
  | "HeaderLength"
  | "Options"
  | "SourceRoute"
  | "Fragment"
  | "ExtensionOrder"
  | "TooManyExtensions"
  | "EmbeddedIPv4";

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

const EMPTY = new Uint8Array(0);
const MAX_EXTENSIONS = 8;
const MAPPED = 0xffff;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;

export function newPacket(): Packet {
  return {
    bytes: EMPTY,
    version: 0,
    start: 0,
    end: 0,
    transport: 0,
    protocol: 0,
    ttl: 0,
    fragment: false,
    fragmentOffset: 0,
    s0: 0,
    s1: 0,
    s2: 0,
    s3: 0,
    d0: 0,
    d1: 0,
    d2: 0,
    d3: 0,
    sourcePort: 0,
    destinationPort: 0,
    icmpType: 0,
    icmpCode: 0,
    icmpId: 0,
    problem: null,
  };
}

/**
 * Reads the IPv4 (RFC 791) or IPv6 (RFC 8200) packet in `buf[offset, offset + length)` into `into`. False: malformed,
 * and `into.problem` says why; the other fields then hold what was read so far.
 */
export function parsePacket(buf: Uint8Array, offset: number, length: number, into: Packet): boolean {
  resetPacket(into, buf, offset);
  if (length < 1 || offset + length > buf.length) return fail(into, "Truncated");
  const version = buf[offset]! >>> 4;
  into.version = version;
  const problem = version === 4 ? ipv4Header(length, into) : version === 6 ? ipv6Header(length, into) : "Version";
  if (problem !== null) return fail(into, problem);
  const upper = upperLayer(into);
  return upper === null || fail(into, upper);
}

export function sourceAddress(packet: Packet): Address {
  return { w0: packet.s0, w1: packet.s1, w2: packet.s2, w3: packet.s3 };
}

export function destinationAddress(packet: Packet): Address {
  return { w0: packet.d0, w1: packet.d1, w2: packet.d2, w3: packet.d3 };
}

/** TTL, protocol and addresses of the fixed header at `at`, which is all there; `into` is as `resetPacket` leaves it. */
export function readIPv4Ends(buf: Uint8Array, at: number, into: Packet): void {
  into.ttl = buf[at + 8]!;
  into.protocol = buf[at + 9]!;
  into.s2 = into.d2 = MAPPED;
  into.s3 = word(buf, at + 12);
  into.d3 = word(buf, at + 16);
}

/** Hop limit and addresses of the fixed header at `at`, which is all there. */
export function readIPv6Ends(buf: Uint8Array, at: number, into: Packet): void {
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

/** As nothing was read yet, of what begins at `offset`. */
export function resetPacket(into: Packet, buf: Uint8Array, offset: number): void {
  into.bytes = buf;
  into.version = 0;
  into.start = into.end = into.transport = offset;
  into.protocol = into.ttl = into.fragmentOffset = 0;
  into.fragment = false;
  into.s0 = into.s1 = into.s2 = into.s3 = 0;
  into.d0 = into.d1 = into.d2 = into.d3 = 0;
  into.sourcePort = into.destinationPort = 0;
  into.icmpType = into.icmpCode = into.icmpId = 0;
  into.problem = null;
}

function fail(into: Packet, problem: PacketProblem): false {
  into.problem = problem;
  return false;
}

function ipv4Header(length: number, into: Packet): PacketProblem | null {
  const buf = into.bytes;
  const at = into.start;
  if (length < 20) return "Truncated";
  const headerLength = (buf[at]! & 15) * 4;
  const total = half(buf, at + 2);
  if (headerLength < 20 || total < headerLength) return "HeaderLength";
  if (total > length) return "Truncated";
  into.end = at + total;
  into.transport = at + headerLength;
  readIPv4Ends(buf, at, into);
  const flags = half(buf, at + 6);
  into.fragmentOffset = (flags & 0x1fff) * 8;
  into.fragment = (flags & 0x3fff) !== 0;
  if (into.fragmentOffset + total - headerLength > 0xffff) return "Fragment";
  return headerLength > 20 ? ipv4Options(buf, at + 20, into.transport) : null;
}

/** A source route (RFC 791 §3.1) sends the packet on to a destination other than the one that was judged. */
function ipv4Options(buf: Uint8Array, start: number, end: number): PacketProblem | null {
  for (let at = start; at < end; ) {
    const kind = buf[at]!;
    if (kind === 0) return null;
    if (kind === 1) {
      at++;
      continue;
    }
    if (kind === 131 || kind === 137) return "SourceRoute";
    if (at + 1 >= end) return "Options";
    const size = buf[at + 1]!;
    if (size < 2 || at + size > end) return "Options";
    at += size;
  }
  return null;
}

function ipv6Header(length: number, into: Packet): PacketProblem | null {
  const buf = into.bytes;
  const at = into.start;
  if (length < 40) return "Truncated";
  const payload = half(buf, at + 4);
  if (40 + payload > length) return "Truncated";
  into.end = at + 40 + payload;
  readIPv6Ends(buf, at, into);
  if (embedsIPv4(into.s0, into.s1, into.s2, into.s3) || embedsIPv4(into.d0, into.d1, into.d2, into.d3)) {
    return "EmbeddedIPv4";
  }
  return ipv6Extensions(buf[at + 6]!, at + 40, into);
}

/** Mapped or compatible (RFC 4291 §2.5.5). Such an address would be taken for the IPv4 one when it is looked up. */
function embedsIPv4(w0: number, w1: number, w2: number, w3: number): boolean {
  return w0 === 0 && w1 === 0 && (w2 === MAPPED || (w2 === 0 && w3 > 1));
}

function ipv6Extensions(first: number, start: number, into: Packet): PacketProblem | null {
  const buf = into.bytes;
  const end = into.end;
  let next = first;
  let at = start;
  for (let count = 0; ; count++) {
    if (!isExtension(next)) break;
    if (count === MAX_EXTENSIONS) return "TooManyExtensions";
    if (next === HOP_BY_HOP && count > 0) return "ExtensionOrder";
    if (at + 8 > end) return "Truncated";
    const following = buf[at]!;
    if (next === FRAGMENT) {
      const problem = ipv6Fragment(at, into);
      if (problem !== null) return problem;
      at += 8;
      next = following;
      if (into.fragmentOffset > 0) break;
      continue;
    }
    // Segments left: the packet goes on to a destination other than the one that was judged (RFC 5095).
    if (next === ROUTING && buf[at + 3] !== 0) return "SourceRoute";
    at += next === AUTHENTICATION ? (buf[at + 1]! + 2) * 4 : (buf[at + 1]! + 1) * 8;
    if (at > end) return "Truncated";
    next = following;
  }
  into.protocol = next;
  into.transport = at;
  return null;
}

function isExtension(next: number): boolean {
  return (
    next === HOP_BY_HOP ||
    next === ROUTING ||
    next === FRAGMENT ||
    next === DESTINATION_OPTIONS ||
    next === AUTHENTICATION
  );
}

function ipv6Fragment(at: number, into: Packet): PacketProblem | null {
  if (into.fragment) return "Fragment";
  const field = half(into.bytes, at + 2);
  into.fragmentOffset = field & 0xfff8;
  into.fragment = (field & 0xfff9) !== 0;
  return into.fragmentOffset + (into.end - at - 8) > 0xffff ? "Fragment" : null;
}

function upperLayer(into: Packet): PacketProblem | null {
  if (into.fragmentOffset > 0) return null;
  const buf = into.bytes;
  const at = into.transport;
  const size = into.end - at;
  const protocol = into.protocol;
  if (protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp || protocol === PROTOCOL.sctp) {
    if (size < (protocol === PROTOCOL.tcp ? 20 : protocol === PROTOCOL.udp ? 8 : 12)) return "Truncated";
    into.sourcePort = half(buf, at);
    into.destinationPort = half(buf, at + 2);
    return null;
  }
  if (protocol !== (into.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) return null;
  if (size < 4) return "Truncated";
  const type = buf[at]!;
  into.icmpType = type;
  into.icmpCode = buf[at + 1]!;
  const echo = into.version === 4 ? type === 8 || type === 0 : type === 128 || type === 129;
  if (!echo) return null;
  if (size < 8) return "Truncated";
  into.icmpId = half(buf, at + 4);
  return null;
}
