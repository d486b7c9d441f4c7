import { type Address, isIPv4, parseAddress } from "../../../src/net/address.ts";
import { finishChecksum, pseudoHeaderSum, sumBytes } from "../../../src/packet/checksum.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";

/** A whole IP packet of any protocol. */
export function ipPacket(source: string, destination: string, protocol: number, payload: Uint8Array): Uint8Array {
  const from = parseAddress(source)!;
  const to = parseAddress(destination)!;
  return isIPv4(from) ? ipv4Packet(from, to, protocol, payload) : ipv6Packet(source, destination, protocol, payload);
}

function ipv4Packet(from: Address, to: Address, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(20 + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet[8] = 64;
  packet[9] = protocol;
  view.setUint32(12, from.w3);
  view.setUint32(16, to.w3);
  packet.set(payload, 20);
  view.setUint16(10, finishChecksum(sumBytes(packet, 0, 20)));
  return packet;
}

function ipv6Packet(source: string, destination: string, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x60;
  view.setUint16(4, payload.length);
  packet[6] = protocol;
  packet[7] = 64;
  [source, destination].forEach((text, index) => {
    const { w0, w1, w2, w3 } = parseAddress(text)!;
    [w0, w1, w2, w3].forEach((word, at) => {
      view.setUint32(8 + index * 16 + at * 4, word);
    });
  });
  packet.set(payload, 40);
  return packet;
}

/** ICMP or ICMPv6 with its checksum: `body` follows type, code and checksum. */
export function icmpPacket(
  source: string,
  destination: string,
  type: number,
  code: number,
  body: Uint8Array,
): Uint8Array {
  const message = Uint8Array.from([type, code, 0, 0, ...body]);
  const six = source.includes(":");
  const whole = ipPacket(source, destination, six ? 58 : 1, message);
  const at = six ? 40 : 20;
  let sum = sumBytes(whole, at, whole.length);
  if (six) {
    const packet = newPacket();
    parsePacket(whole, 0, whole.length, packet);
    sum = sumBytes(whole, at, whole.length, pseudoHeaderSum(packet, 58, message.length));
  }
  new DataView(whole.buffer).setUint16(at + 2, finishChecksum(sum));
  return whole;
}
