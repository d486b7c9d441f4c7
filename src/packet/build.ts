import { type Address, isIPv4 } from "../net/address.ts";
import { finishChecksum, pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { newPacket, type Packet, PROTOCOL, parsePacket } from "./ip.ts";
import { writeHalf, writeWord } from "./network-order.ts";
import { newTcpSegment, parseTcp } from "./tcp.ts";
import { newUdpDatagram, parseUdp } from "./udp.ts";

export interface Endpoints {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** TTL or hop limit; 64 if absent. */
  readonly ttl?: number;
}

export interface TcpParts extends Endpoints {
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  /** Padded with zeros to a multiple of four bytes; at most 40. */
  readonly options?: Uint8Array;
  readonly payload?: Uint8Array;
}

export interface UdpParts extends Endpoints {
  readonly payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);
const MAX_PACKET = 0xffff;

/** A whole IP packet with a TCP segment, all lengths and checksums filled in. The family is that of `source`. */
export function buildTcp(parts: TcpParts): Uint8Array {
  const payload = parts.payload ?? EMPTY;
  const options = parts.options ?? EMPTY;
  const headerLength = 20 + ((options.length + 3) & ~3);
  const packet = ipHeader(parts, PROTOCOL.tcp, headerLength + payload.length);
  const at = packet.length - headerLength - payload.length;
  writePorts(packet, at, parts);
  writeWord(packet, at + 4, parts.seq);
  writeWord(packet, at + 8, parts.ack);
  packet[at + 12] = (headerLength / 4) << 4;
  packet[at + 13] = parts.flags;
  writeHalf(packet, at + 14, parts.window);
  packet.set(options, at + 20);
  packet.set(payload, at + headerLength);
  finish(packet);
  return packet;
}

/** A whole IP packet with a UDP datagram, all lengths and checksums filled in. The family is that of `source`. */
export function buildUdp(parts: UdpParts): Uint8Array {
  const packet = ipHeader(parts, PROTOCOL.udp, 8 + parts.payload.length);
  const at = packet.length - 8 - parts.payload.length;
  writePorts(packet, at, parts);
  writeHalf(packet, at + 4, 8 + parts.payload.length);
  packet.set(parts.payload, at + 8);
  finish(packet);
  return packet;
}

/** The UDP packet `bytes` with another payload, as a new packet. Null: not a whole UDP packet, or it would grow too long. */
export function replaceUdpPayload(bytes: Uint8Array, payload: Uint8Array): Uint8Array | null {
  const packet = newPacket();
  const datagram = newUdpDatagram();
  if (!parsePacket(bytes, 0, bytes.length, packet) || !parseUdp(packet, datagram)) return null;
  const length = datagram.payloadStart + payload.length;
  if (length > MAX_PACKET) return null;
  const changed = new Uint8Array(length);
  changed.set(bytes.subarray(0, datagram.payloadStart));
  changed.set(payload, datagram.payloadStart);
  if (packet.version === 4) writeHalf(changed, 2, length);
  else writeHalf(changed, 4, length - 40);
  writeHalf(changed, packet.transport + 4, length - packet.transport);
  finish(changed);
  return changed;
}

/**
 * The TCP packet `bytes` with `patch` written over its payload from `at` (bytes from the start of the payload) on, as a
 * new packet of the same length: sequence numbers stay true. Null: not a whole TCP packet, or the patch does not fit.
 */
export function patchTcpPayload(bytes: Uint8Array, at: number, patch: Uint8Array): Uint8Array | null {
  const packet = newPacket();
  const segment = newTcpSegment();
  if (!parsePacket(bytes, 0, bytes.length, packet) || packet.fragment || !parseTcp(packet, segment)) return null;
  if (at < 0 || segment.payloadStart + at + patch.length > segment.payloadEnd) return null;
  const changed = bytes.slice(0, packet.end);
  changed.set(patch, segment.payloadStart + at);
  finish(changed);
  return changed;
}

/**
 * The TCP or UDP packet `bytes` with another address and port at one end, as a new packet with right checksums. What cannot
 * bear them (another protocol, the other family, a fragment) is given back as it is.
 */
export function replaceEndpoint(
  bytes: Uint8Array,
  end: "source" | "destination",
  address: Address,
  port: number,
): Uint8Array {
  const packet = newPacket();
  if (!parsePacket(bytes, 0, bytes.length, packet) || packet.fragment) return bytes;
  if (packet.protocol !== PROTOCOL.tcp && packet.protocol !== PROTOCOL.udp) return bytes;
  if (isIPv4(address) !== (packet.version === 4)) return bytes;
  const changed = bytes.slice(0, packet.end);
  if (packet.version === 4) writeWord(changed, end === "source" ? 12 : 16, address.w3);
  else writeAddress(changed, end === "source" ? 8 : 24, address);
  writeHalf(changed, packet.transport + (end === "source" ? 0 : 2), port);
  finish(changed);
  return changed;
}

function ipHeader(parts: Endpoints, protocol: number, length: number): Uint8Array {
  if (isIPv4(parts.source)) {
    const packet = new Uint8Array(20 + length);
    packet[0] = 0x45;
    writeHalf(packet, 2, packet.length);
    packet[6] = 0x40;
    packet[8] = parts.ttl ?? 64;
    packet[9] = protocol;
    writeWord(packet, 12, parts.source.w3);
    writeWord(packet, 16, parts.destination.w3);
    return packet;
  }
  const packet = new Uint8Array(40 + length);
  packet[0] = 0x60;
  writeHalf(packet, 4, length);
  packet[6] = protocol;
  packet[7] = parts.ttl ?? 64;
  writeAddress(packet, 8, parts.source);
  writeAddress(packet, 24, parts.destination);
  return packet;
}

/** Fills in the checksums of a packet whose lengths are right. */
function finish(bytes: Uint8Array): void {
  const packet: Packet = newPacket();
  if (!parsePacket(bytes, 0, bytes.length, packet)) return;
  if (packet.version === 4) {
    writeHalf(bytes, 10, 0);
    writeHalf(bytes, 10, finishChecksum(sumBytes(bytes, 0, (bytes[0]! & 15) * 4)));
  }
  const at = packet.transport + (packet.protocol === PROTOCOL.tcp ? 16 : 6);
  writeHalf(bytes, at, 0);
  const sum = pseudoHeaderSum(packet, packet.protocol, packet.end - packet.transport);
  const checksum = finishChecksum(sumBytes(bytes, packet.transport, packet.end, sum));
  // A UDP checksum that comes out as zero is sent as 0xffff (RFC 768).
  writeHalf(bytes, at, checksum === 0 && packet.protocol === PROTOCOL.udp ? 0xffff : checksum);
}

function writePorts(packet: Uint8Array, at: number, parts: Endpoints): void {
  writeHalf(packet, at, parts.sourcePort);
  writeHalf(packet, at + 2, parts.destinationPort);
}

function writeAddress(packet: Uint8Array, at: number, address: Address): void {
  writeWord(packet, at, address.w0);
  writeWord(packet, at + 4, address.w1);
  writeWord(packet, at + 8, address.w2);
  writeWord(packet, at + 12, address.w3);
}
