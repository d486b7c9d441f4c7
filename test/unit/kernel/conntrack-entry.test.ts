import fc from "fast-check";
import { expect, test } from "vitest";
import { readConntrackEntry, type Tuple, writeTuple } from "../../../src/kernel/conntrack-entry.ts";
import { HEADER, MessageWriter } from "../../../src/kernel/netlink-message.ts";
import { parseAddress } from "../../../src/net/address.ts";

function tuple(source: string, destination: string, protocol: number, fields: Partial<Tuple> = {}): Tuple {
  return {
    source: parseAddress(source)!,
    destination: parseAddress(destination)!,
    protocol,
    sourcePort: 0,
    destinationPort: 0,
    icmpId: 0,
    icmpType: 0,
    icmpCode: 0,
    ...fields,
  };
}

function message(original: Tuple, reply: Tuple): MessageWriter {
  const writer = new MessageWriter(1024).begin(0x0100, 0, 1, 2, 0);
  writeTuple(writer, "original", original);
  writeTuple(writer, "reply", reply);
  const wide = (high: number, low: number) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint32(0, high);
    new DataView(bytes.buffer).setUint32(4, low);
    return bytes;
  };
  return writer
    .u32(3, 0x18e)
    .nested(4, (outer) => outer.nested(1, (inner) => inner.u8(1, 3)))
    .u32(7, 431_999)
    .u32(8, 0xffff_0002)
    .nested(9, (inner) => inner.data(1, wide(0, 12)).data(2, wide(1, 5)))
    .nested(10, (inner) => inner.data(1, wide(0, 9)).data(2, wide(0, 900)))
    .u32(12, 77)
    .nested(20, (inner) => inner.data(1, wide(396_000_000, 0)))
    .end();
}

test.each([
  ["TCP", tuple("10.244.0.2", "192.0.2.1", 6, { sourcePort: 40_000, destinationPort: 443 })],
  ["UDP over IPv6", tuple("fd00:244::2", "2001:db8::1", 17, { sourcePort: 5353, destinationPort: 53 })],
  ["ICMP", tuple("10.244.0.2", "192.0.2.1", 1, { icmpId: 7, icmpType: 8 })],
  ["ICMPv6", tuple("fd00:244::2", "2001:db8::1", 58, { icmpId: 7, icmpType: 128 })],
])("%s: what is written reads back", (_name, original) => {
  const reply = { ...original, source: original.destination, destination: original.source };
  const writer = message(original, reply);
  expect(readConntrackEntry(writer.bytes, HEADER, writer.length)).toEqual({
    id: 77,
    original,
    reply,
    mark: 0xffff_0002,
    status: 0x18e,
    tcpState: 3,
    originalCounters: { packets: 12, bytes: 2 ** 32 + 5 },
    replyCounters: { packets: 9, bytes: 900 },
    start: (396_000_000 * 2 ** 32) / 1e6,
    stop: 0,
    timeout: 431_999,
  });
});

test("truncated at every length it is null or a part, never an exception", () => {
  const one = tuple("10.244.0.2", "192.0.2.1", 6, { sourcePort: 1, destinationPort: 2 });
  const writer = message(one, one);
  for (let length = 0; length < writer.length; length++) {
    const cut = writer.bytes.slice(0, length);
    expect(() => readConntrackEntry(cut, HEADER, length)).not.toThrow();
    expect(readConntrackEntry(writer.bytes, HEADER, length)).toEqual(readConntrackEntry(cut, HEADER, length));
  }
});

test("arbitrary bytes never throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readConntrackEntry(bytes, 0, bytes.length)));
});
