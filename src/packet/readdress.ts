import { type Address, isIPv4 } from "../net/address.ts";
import { type Packet, PROTOCOL } from "./ip.ts";
import { half, word, writeHalf, writeWord } from "./network-order.ts";

/**
 * Puts another address of the same family at one end of a packet, in place, and brings its checksums up to date (RFC 1624 §3): one that was wrong stays wrong.
 * `packet` is what was read of it, and is not changed. False, and nothing has changed: the other family, or no whole IP header.
 */
export function readdress(packet: Packet, end: "source" | "destination", address: Address): boolean {
  const { bytes, start, version } = packet;
  if (packet.end === start || isIPv4(address) !== (version === 4)) return false;
  const four = version === 4;
  const at = start + (end === "source" ? (four ? 12 : 8) : four ? 16 : 24);
  const words = four ? [address.w3] : [address.w0, address.w1, address.w2, address.w3];
  let change = 0;
  for (const [index, value] of words.entries()) {
    change += difference(word(bytes, at + 4 * index), value);
    writeWord(bytes, at + 4 * index, value);
  }
  if (four) adjust(bytes, start + 10, change);
  const field = checksumField(packet);
  if (field > 0) adjust(bytes, field, change);
  return true;
}

/** Where the checksum lies that covers the addresses; 0: there is none. */
function checksumField({ bytes, protocol, transport, fragmentOffset, version, problem, icmpType }: Packet): number {
  if (problem !== null || fragmentOffset > 0) return 0;
  if (protocol === PROTOCOL.tcp) return transport + 16;
  // Without a checksum (RFC 768) it stays so.
  if (protocol === PROTOCOL.udp) return half(bytes, transport + 6) === 0 ? 0 : transport + 6;
  return protocol === PROTOCOL.icmpv6 && version === 6 && icmpType > 0 ? transport + 2 : 0;
}

/** What the sum of 16-bit words grows by, as a number of one's complement arithmetic that is not negative. */
function difference(before: number, after: number): number {
  return (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff);
}

function adjust(bytes: Uint8Array, at: number, change: number): void {
  let sum = (~half(bytes, at) & 0xffff) + change;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  writeHalf(bytes, at, ~sum & 0xffff);
}
