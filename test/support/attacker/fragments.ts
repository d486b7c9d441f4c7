import type { Segment } from "./script.ts";

const FRAGMENT = 44;

/** The packet in IP fragments (RFC 791 §3.2, RFC 8200 §4.5), or whole where none are asked for. */
export function fragments(
  packet: Uint8Array,
  { fragments: size, reversed }: Pick<Segment, "fragments" | "reversed">,
): Uint8Array[] {
  if (size === undefined) return [packet];
  const four = packet[0]! >>> 4 === 4;
  const head = four ? (packet[0]! & 15) * 4 : 40;
  const id = (Math.random() * 0xffff) >>> 0;
  const parts: Uint8Array[] = [];
  for (let at = head; at < packet.length; at += size) {
    const data = packet.subarray(at, Math.min(packet.length, at + size));
    const more = at + size < packet.length;
    parts.push(four ? part4(packet, head, data, at - head, more, id) : part6(packet, data, at - head, more, id));
  }
  return reversed ? parts.reverse() : parts;
}

function part4(
  packet: Uint8Array,
  head: number,
  data: Uint8Array,
  offset: number,
  more: boolean,
  id: number,
): Uint8Array {
  const part = new Uint8Array(head + data.length);
  part.set(packet.subarray(0, head));
  part.set(data, head);
  half(part, 2, part.length);
  half(part, 4, id);
  half(part, 6, (more ? 0x2000 : 0) | (offset >> 3));
  return part;
}

function part6(packet: Uint8Array, data: Uint8Array, offset: number, more: boolean, id: number): Uint8Array {
  const part = new Uint8Array(48 + data.length);
  part.set(packet.subarray(0, 40));
  half(part, 4, 8 + data.length);
  part[6] = FRAGMENT;
  part[40] = packet[6]!;
  half(part, 42, offset | (more ? 1 : 0));
  half(part, 46, id);
  part.set(data, 48);
  return part;
}

function half(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
