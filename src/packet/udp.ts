import { finishChecksum, pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { type Packet, PROTOCOL } from "./ip.ts";
import { half } from "./network-order.ts";

/** View of a UDP datagram (RFC 768), reused. Offsets are into the bytes of the packet. */
export interface UdpDatagram {
  payloadStart: number;
  payloadEnd: number;
}

export function newUdpDatagram(): UdpDatagram {
  return { payloadStart: 0, payloadEnd: 0 };
}

/**
 * Reads the UDP header of a parsed packet. False: not UDP, a fragment, or a length field that is not exactly the rest of
 * the packet: bytes behind the UDP length are read by nobody honest, and by some receivers wrongly.
 */
export function parseUdp(packet: Packet, into: UdpDatagram): boolean {
  if (packet.protocol !== PROTOCOL.udp || packet.fragment || packet.problem !== null) return false;
  const at = packet.transport;
  if (packet.end - at < 8 || half(packet.bytes, at + 4) !== packet.end - at) return false;
  into.payloadStart = at + 8;
  into.payloadEnd = packet.end;
  return true;
}

/** A zero field means "none" on IPv4 (RFC 768) and is forbidden on IPv6 (RFC 8200 §8.1). */
export function udpChecksumOk(packet: Packet): boolean {
  const length = packet.end - packet.transport;
  if (length < 8) return false;
  if (half(packet.bytes, packet.transport + 6) === 0) return packet.version === 4;
  const sum = pseudoHeaderSum(packet, PROTOCOL.udp, length);
  return finishChecksum(sumBytes(packet.bytes, packet.transport, packet.end, sum)) === 0;
}
