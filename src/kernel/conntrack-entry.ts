import { type Address, addressFromBytes, addressToBytes, isIPv4 } from "../net/address.ts";
import { AttributeReader, type MessageWriter, NETFILTER_HEADER, readU16, readU32, readU64 } from "./netlink-message.ts";

/** One direction of a flow as conntrack keys it. For ICMP the ports are 0; for others the ICMP fields are. */
export interface Tuple {
  readonly source: Address;
  readonly destination: Address;
  /** IP protocol number. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmpId: number;
  readonly icmpType: number;
  readonly icmpCode: number;
}

export interface Counters {
  readonly packets: number;
  readonly bytes: number;
}

/** An entry, or its last words. Counters and times are 0 where accounting is off. */
export interface ConntrackEntry {
  readonly id: number;
  /** As the first packet asked, before translation. */
  readonly original: Tuple;
  /** As the answer comes, so after translation: its source is the real server. */
  readonly reply: Tuple;
  readonly mark: number;
  /** IPS_* bits. */
  readonly status: number;
  /** TCP_CONNTRACK_* (3 is ESTABLISHED); -1 where it is not TCP. */
  readonly tcpState: number;
  readonly originalCounters: Counters;
  readonly replyCounters: Counters;
  /** Milliseconds since the epoch; `stop` is 0 while the entry lives. */
  readonly start: number;
  readonly stop: number;
  /** Seconds left. */
  readonly timeout: number;
}

export const STATUS_ASSURED = 1 << 2;
export const STATUS_DNAT = 1 << 5;

const CTA = {
  original: 1,
  reply: 2,
  status: 3,
  protocolInfo: 4,
  timeout: 7,
  mark: 8,
  originalCounters: 9,
  replyCounters: 10,
  id: 12,
  timestamp: 20,
} as const;
const TUPLE_ADDRESSES = 1;
const TUPLE_PROTOCOL = 2;
const ICMPV6 = 58;
const ICMP = 1;

type Fields = { -readonly [K in keyof Tuple]: Tuple[K] };

const NOWHERE: Address = Object.freeze({ w0: 0, w1: 0, w2: 0, w3: 0 });

function emptyTuple(): Fields {
  return {
    source: NOWHERE,
    destination: NOWHERE,
    protocol: 0,
    sourcePort: 0,
    destinationPort: 0,
    icmpId: 0,
    icmpType: 0,
    icmpCode: 0,
  };
}

/** Reads the attributes of a ctnetlink message. Null where it carries no original tuple. */
export function readConntrackEntry(bytes: Uint8Array, start: number, end: number): ConntrackEntry | null {
  const entry = {
    id: 0,
    original: emptyTuple(),
    reply: emptyTuple(),
    mark: 0,
    status: 0,
    tcpState: -1,
    originalCounters: { packets: 0, bytes: 0 },
    replyCounters: { packets: 0, bytes: 0 },
    start: 0,
    stop: 0,
    timeout: 0,
  };
  let complete = false;
  // Past nfgenmsg; the caller's range begins after nlmsghdr.
  const reader = new AttributeReader(bytes, start + NETFILTER_HEADER - 16, end);
  while (reader.next()) {
    const at = reader.start;
    const stop = reader.end;
    if (reader.type === CTA.original) complete = readTuple(bytes, at, stop, entry.original);
    else if (reader.type === CTA.reply) readTuple(bytes, at, stop, entry.reply);
    else if (reader.type === CTA.status) entry.status = readU32(bytes, at, stop);
    else if (reader.type === CTA.protocolInfo) entry.tcpState = readTcpState(bytes, at, stop);
    else if (reader.type === CTA.timeout) entry.timeout = readU32(bytes, at, stop);
    else if (reader.type === CTA.mark) entry.mark = readU32(bytes, at, stop);
    else if (reader.type === CTA.originalCounters) entry.originalCounters = readCounters(bytes, at, stop);
    else if (reader.type === CTA.replyCounters) entry.replyCounters = readCounters(bytes, at, stop);
    else if (reader.type === CTA.id) entry.id = readU32(bytes, at, stop);
    else if (reader.type === CTA.timestamp) [entry.start, entry.stop] = readTimes(bytes, at, stop);
  }
  return complete ? entry : null;
}

function readTuple(bytes: Uint8Array, start: number, end: number, into: Fields): boolean {
  let seen = 0;
  const outer = new AttributeReader(bytes, start, end);
  while (outer.next()) {
    const inner = new AttributeReader(bytes, outer.start, outer.end);
    if (outer.type === TUPLE_ADDRESSES) {
      while (inner.next()) {
        const address = readAddress(bytes, inner.start, inner.end);
        if (address === null) continue;
        if (inner.type === 1 || inner.type === 3) into.source = address;
        else if (inner.type === 2 || inner.type === 4) into.destination = address;
        seen |= 1;
      }
    } else if (outer.type === TUPLE_PROTOCOL) {
      while (inner.next()) readProtocol(bytes, inner, into);
      seen |= 2;
    }
  }
  return seen === 3;
}

function readProtocol(bytes: Uint8Array, attribute: AttributeReader, into: Fields): void {
  const at = attribute.start;
  const end = attribute.end;
  if (at >= end) return;
  if (attribute.type === 1) into.protocol = bytes[at]!;
  else if (attribute.type === 2) into.sourcePort = readU16(bytes, at, end);
  else if (attribute.type === 3) into.destinationPort = readU16(bytes, at, end);
  else if (attribute.type === 4 || attribute.type === 7) into.icmpId = readU16(bytes, at, end);
  else if (attribute.type === 5 || attribute.type === 8) into.icmpType = bytes[at]!;
  else if (attribute.type === 6 || attribute.type === 9) into.icmpCode = bytes[at]!;
}

function readAddress(bytes: Uint8Array, at: number, end: number): Address | null {
  const length = end - at;
  return length === 4 || length === 16 ? addressFromBytes(bytes, at, length) : null;
}

function readTcpState(bytes: Uint8Array, start: number, end: number): number {
  const outer = new AttributeReader(bytes, start, end);
  while (outer.next()) {
    if (outer.type !== 1) continue;
    const inner = new AttributeReader(bytes, outer.start, outer.end);
    while (inner.next()) if (inner.type === 1 && inner.start < inner.end) return bytes[inner.start]!;
  }
  return -1;
}

function readCounters(bytes: Uint8Array, start: number, end: number): Counters {
  let packets = 0;
  let octets = 0;
  const reader = new AttributeReader(bytes, start, end);
  while (reader.next()) {
    if (reader.type === 1) packets = readU64(bytes, reader.start, reader.end);
    else if (reader.type === 2) octets = readU64(bytes, reader.start, reader.end);
  }
  return { packets, bytes: octets };
}

/** Nanoseconds on the wire, milliseconds here. */
function readTimes(bytes: Uint8Array, start: number, end: number): [number, number] {
  let first = 0;
  let last = 0;
  const reader = new AttributeReader(bytes, start, end);
  while (reader.next()) {
    const milliseconds = readU64(bytes, reader.start, reader.end) / 1e6;
    if (reader.type === 1) first = milliseconds;
    else if (reader.type === 2) last = milliseconds;
  }
  return [first, last];
}

/** AF_INET or AF_INET6 for the tuple's addresses. */
export function familyOf(tuple: Tuple): 2 | 10 {
  return isIPv4(tuple.source) ? 2 : 10;
}

/** Writes a tuple as the attribute of `direction`, in the order ctnetlink wants. */
export function writeTuple(writer: MessageWriter, direction: "original" | "reply", tuple: Tuple): void {
  const wide = familyOf(tuple) === 10;
  writer.nested(direction === "original" ? CTA.original : CTA.reply, (outer) => {
    outer.nested(TUPLE_ADDRESSES, (inner) => {
      inner.data(wide ? 3 : 1, addressToBytes(tuple.source));
      inner.data(wide ? 4 : 2, addressToBytes(tuple.destination));
    });
    outer.nested(TUPLE_PROTOCOL, (inner) => {
      inner.u8(1, tuple.protocol);
      if (tuple.protocol === ICMP) inner.u16(4, tuple.icmpId).u8(5, tuple.icmpType).u8(6, tuple.icmpCode);
      else if (tuple.protocol === ICMPV6) inner.u16(7, tuple.icmpId).u8(8, tuple.icmpType).u8(9, tuple.icmpCode);
      else inner.u16(2, tuple.sourcePort).u16(3, tuple.destinationPort);
    });
  });
}
