import { finishChecksum, pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { type Packet, PROTOCOL } from "./ip.ts";
import { half, word } from "./network-order.ts";

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

/** View of a TCP header (RFC 9293 §3.1), reused. Offsets are into the bytes of the packet. */
export interface TcpSegment {
  /** Unsigned 32 bits. */
  seq: number;
  ack: number;
  flags: number;
  /** As on the wire, not scaled. */
  window: number;
  urgentPointer: number;
  optionsStart: number;
  payloadStart: number;
  payloadEnd: number;
}

/** What the options say; read only when wanted. -1: the option is not there. */
export interface TcpOptions {
  mss: number;
  windowScale: number;
  sackPermitted: boolean;
  timestamp: number;
  timestampEcho: number;
  /** RFC 2385 or RFC 5925 signature: the receiver may discard what the inspector accepts. */
  signed: boolean;
  /** RFC 7413: data may ride in the SYN. */
  fastOpen: boolean;
  /** An option that overruns the header or has the wrong length. */
  malformed: boolean;
}

export function newTcpSegment(): TcpSegment {
  return { seq: 0, ack: 0, flags: 0, window: 0, urgentPointer: 0, optionsStart: 0, payloadStart: 0, payloadEnd: 0 };
}

/** Reads the TCP header of a parsed packet. False: not TCP, a later fragment, or a data offset that cannot be. */
export function parseTcp(packet: Packet, into: TcpSegment): boolean {
  if (packet.protocol !== PROTOCOL.tcp || packet.fragmentOffset > 0 || packet.problem !== null) return false;
  const buf = packet.bytes;
  const at = packet.transport;
  if (packet.end - at < 20) return false;
  const headerLength = (buf[at + 12]! >>> 4) * 4;
  if (headerLength < 20 || at + headerLength > packet.end) return false;
  into.seq = word(buf, at + 4);
  into.ack = word(buf, at + 8);
  into.flags = buf[at + 13]!;
  into.window = half(buf, at + 14);
  into.urgentPointer = half(buf, at + 18);
  into.optionsStart = at + 20;
  into.payloadStart = at + headerLength;
  into.payloadEnd = packet.end;
  return true;
}

/** Reads the options between `start` and `end` (RFC 9293 §3.2, RFC 7323, RFC 2018). Allocates: not for every packet. */
export function readTcpOptions(buf: Uint8Array, start: number, end: number): TcpOptions {
  const options: TcpOptions = {
    mss: -1,
    windowScale: -1,
    sackPermitted: false,
    timestamp: -1,
    timestampEcho: -1,
    signed: false,
    fastOpen: false,
    malformed: false,
  };
  for (let at = start; at < end; ) {
    const kind = buf[at]!;
    if (kind === 0) return options;
    if (kind === 1) {
      at++;
      continue;
    }
    const size = at + 1 < end ? buf[at + 1]! : 0;
    if (size < 2 || at + size > end || !readOption(buf, at, kind, size, options)) {
      options.malformed = true;
      return options;
    }
    at += size;
  }
  return options;
}

function readOption(buf: Uint8Array, at: number, kind: number, size: number, into: TcpOptions): boolean {
  switch (kind) {
    case 2:
      if (size !== 4) return false;
      into.mss = half(buf, at + 2);
      return true;
    case 3:
      if (size !== 3) return false;
      into.windowScale = buf[at + 2]!;
      return true;
    case 4:
      into.sackPermitted = true;
      return size === 2;
    case 8:
      if (size !== 10) return false;
      into.timestamp = word(buf, at + 2);
      into.timestampEcho = word(buf, at + 6);
      return true;
    case 19:
    case 29:
      into.signed = true;
      return true;
    case 34:
      into.fastOpen = true;
      return true;
    default:
      return true;
  }
}

/** True if sequence number `a` comes before `b` (RFC 9293 §3.4); right across the wrap, for distances below 2^31. */
export function seqLess(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Signed distance from `b` to `a`, -2^31 to 2^31 - 1. */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

/** `seq + count`, wrapped to unsigned 32 bits. */
export function seqAdd(seq: number, count: number): number {
  return (seq + count) >>> 0;
}

/** Of a whole TCP packet, no fragment. Unfinished checksums (offload) fail: the kernel says which those are. */
export function tcpChecksumOk(packet: Packet): boolean {
  const length = packet.end - packet.transport;
  const sum = pseudoHeaderSum(packet, PROTOCOL.tcp, length);
  return length >= 20 && finishChecksum(sumBytes(packet.bytes, packet.transport, packet.end, sum)) === 0;
}
