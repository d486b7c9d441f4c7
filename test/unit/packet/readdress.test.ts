import * as fc from "fast-check";
import { expect, test } from "vitest";
import { addressToBytes, ipv4, parseAddress } from "../../../src/net/address.ts";
import { buildTcp, buildUdp } from "../../../src/packet/build.ts";
import { newPacket, parsePacket } from "../../../src/packet/ip.ts";
import { readdress } from "../../../src/packet/readdress.ts";
import { runs } from "../../support/runs.ts";

const word = fc.nat(0xffffffff);
const four = fc.nat(0xffffffff).map(ipv4);
const six = fc.tuple(word, word, word).map(([w1, w2, w3]) => ({ w0: 0x20010db8, w1, w2, w3 }));
const pair = fc.oneof(fc.tuple(four, four, four), fc.tuple(six, six, six));

test("a packet with another address is the packet that would have been made with it", () => {
  const property = fc.property(
    pair,
    fc.uint8Array({ maxLength: 40 }),
    fc.boolean(),
    ([source, destination, other], payload, tcp) => {
      const make = (from: typeof source, to: typeof source) => {
        const ends = { source: from, destination: to, sourcePort: 5, destinationPort: 6, payload };
        return tcp ? buildTcp({ ...ends, seq: 1, ack: 2, flags: 16, window: 3 }) : buildUdp(ends);
      };
      for (const end of ["source", "destination"] as const) {
        const bytes = make(source, destination);
        const packet = newPacket();
        parsePacket(bytes, 0, bytes.length, packet);
        expect(readdress(packet, end, other)).toBe(true);
        const wanted = end === "source" ? make(other, destination) : make(source, other);
        expect(sameButZero(bytes, wanted)).toBe(true);
      }
    },
  );
  fc.assert(property, { numRuns: runs(300) });
});

/** One's complement has two zeros, and an update may end at the other one. */
function sameButZero(a: Uint8Array, b: Uint8Array): boolean {
  const zero = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex").replaceAll("ffff", "0000");
  return zero(a) === zero(b);
}

test("a wrong checksum stays wrong, none stays none, and the other family changes nothing", () => {
  const source = parseAddress("192.0.2.1")!;
  const bytes = buildUdp({
    source,
    destination: source,
    sourcePort: 1,
    destinationPort: 2,
    payload: new Uint8Array(4),
  });
  bytes[26] = bytes[27] = 0;
  const packet = newPacket();
  parsePacket(bytes, 0, bytes.length, packet);
  expect(readdress(packet, "source", parseAddress("2001:db8::1")!)).toBe(false);
  expect(readdress(packet, "source", parseAddress("198.51.100.7")!)).toBe(true);
  expect([...bytes.subarray(12, 16)]).toEqual([...addressToBytes(parseAddress("198.51.100.7")!)]);
  expect([bytes[26], bytes[27]]).toEqual([0, 0]);
  expect(readdress(newPacket(), "source", source)).toBe(false);
});
