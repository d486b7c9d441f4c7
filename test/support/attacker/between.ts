import type { Segment } from "./script.ts";

const DESTINATION_OPTIONS = 60;

/** The packet with IPv4 options, or an IPv6 extension header, before its TCP header. Checksums of TCP do not cover them. */
export function withBetween(packet: Uint8Array, segment: Pick<Segment, "between" | "betweenType">): Uint8Array {
  if (segment.between === undefined) return packet;
  const middle = Uint8Array.from(Buffer.from(segment.between, "base64"));
  const four = packet[0]! >>> 4 === 4;
  const head = four ? 20 : 40;
  const whole = new Uint8Array(packet.length + middle.length);
  whole.set(packet.subarray(0, head));
  if (four) {
    whole[0] = 0x40 | ((head + middle.length) >> 2);
    setHalf(whole, 2, whole.length);
  } else {
    setHalf(whole, 4, whole.length - 40);
    middle[0] = packet[6]!;
    whole[6] = segment.betweenType ?? DESTINATION_OPTIONS;
  }
  whole.set(middle, head);
  whole.set(packet.subarray(head), head + middle.length);
  return whole;
}

function setHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
