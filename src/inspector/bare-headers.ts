import type { Arrival } from "./lane.ts";

const END = 0;
const NO_OPERATION = 1;
const SACK = 5;
const TIMESTAMPS = 8;
const USER_TIMEOUT = 28;
const ACCURATE_ECN_0 = 172;
const ACCURATE_ECN_1 = 174;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** One block: what a repeated SYN-ACK is answered with. */
const ONE_BLOCK = 10;

/**
 * Whether a segment's headers carry nothing but what TCP needs. The handshake of an undecided flow passes, to any address; were
 * its headers free, each bare acknowledgement could bring 40 bytes of options, or a kilobyte of IPv6 destination options, to
 * whoever listens there. `undecided`: the server has not been heard, so there is nothing to acknowledge selectively.
 */
export function headersAreBare(arrival: Arrival, undecided: boolean): boolean {
  if (!networkHeaderIsBare(arrival)) return false;
  const { packet, segment } = arrival;
  const buf = packet.bytes;
  for (let at = segment.optionsStart; at < segment.payloadStart; ) {
    const kind = buf[at]!;
    if (kind === NO_OPERATION) {
      at++;
      continue;
    }
    if (kind === END) return isZero(buf, at, segment.payloadStart);
    const size = buf[at + 1] ?? 0;
    if (size < 2 || at + size > segment.payloadStart || !isKnown(kind, size, undecided)) return false;
    at += size;
  }
  return true;
}

/** No IPv4 options, no IPv6 extension headers. */
export function networkHeaderIsBare({ packet }: Pick<Arrival, "packet">): boolean {
  return packet.transport - packet.start === (packet.version === 4 ? IPV4_HEADER : IPV6_HEADER);
}

function isKnown(kind: number, size: number, undecided: boolean): boolean {
  switch (kind) {
    case TIMESTAMPS:
      return size === 10;
    case SACK:
      return !undecided || size <= ONE_BLOCK;
    case USER_TIMEOUT:
      return size === 4;
    case ACCURATE_ECN_0:
    case ACCURATE_ECN_1:
      return size <= 11;
    default:
      return false;
  }
}

function isZero(buf: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (buf[at] !== 0) return false;
  return true;
}
