import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AttributeReader,
  HEADER,
  MessageWriter,
  NETFILTER_HEADER,
  NLMSG_ERROR,
  readAcknowledgement,
  readMessages,
  readU32,
} from "../../../src/kernel/netlink-message.ts";

function attributes(bytes: Uint8Array, start: number, end: number): [number, string][] {
  const found: [number, string][] = [];
  const reader = new AttributeReader(bytes, start, end);
  while (reader.next())
    found.push([reader.type, Buffer.from(bytes.subarray(reader.start, reader.end)).toString("hex")]);
  return found;
}

describe("a message as the kernel wants it", () => {
  const writer = new MessageWriter(256);
  writer
    .begin(0x0102, 5, 7, 2, 0x1234)
    .u8(1, 0xab)
    .u16(2, 0x3500)
    .nested(3, (inner) => inner.u32(4, 0xc0000201).data(5, new Uint8Array([9, 8, 7, 6, 5])))
    .end();

  test("header in host order, values in network order, padded to four", () => {
    expect(Buffer.from(writer.message()).toString("hex")).toBe(
      [
        "3c000000" + "0201" + "0500" + "07000000" + "00000000",
        "02" + "00" + "1234",
        "0500" + "0100" + "ab000000",
        "0600" + "0200" + "35000000",
        "1800" + "0380",
        "0800" + "0400" + "c0000201",
        "0900" + "0500" + "0908070605000000",
      ].join(""),
    );
  });

  test("reads back", () => {
    const [message] = readMessages(writer.bytes, writer.length);
    expect(message).toEqual({ type: 0x0102, flags: 5, sequence: 7, start: HEADER, end: writer.length });
    const outer = attributes(writer.bytes, NETFILTER_HEADER, writer.length);
    expect(outer.map(([type]) => type)).toEqual([1, 2, 3]);
    expect(attributes(writer.bytes, writer.length - 20, writer.length)).toEqual([
      [4, "c0000201"],
      [5, "0908070605"],
    ]);
  });
});

test("several messages of one datagram; a header that lies ends the list", () => {
  const writer = new MessageWriter(256);
  writer.begin(1, 0, 1, 0, 0).end();
  writer.begin(2, 0, 2, 0, 0).u32(1, 1).end();
  expect(readMessages(writer.bytes, writer.length).map((message) => message.type)).toEqual([1, 2]);
  expect(readMessages(writer.bytes, writer.length - 1).map((message) => message.type)).toEqual([1]);
  writer.bytes.fill(0, 0, 4);
  expect(readMessages(writer.bytes, writer.length)).toEqual([]);
});

test("an acknowledgement carries the kernel's words", () => {
  const text = Buffer.from("no such thing\0");
  const bytes = new Uint8Array(HEADER + 4 + HEADER + 4 + 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER + 4 + HEADER + 4 + text.length, true);
  view.setUint16(4, NLMSG_ERROR, true);
  view.setUint16(6, 0x100 | 0x200, true);
  view.setInt32(HEADER, -2, true);
  view.setUint32(HEADER + 4, 999, true);
  view.setUint16(HEADER + 4 + HEADER, 4 + text.length, true);
  view.setUint16(HEADER + 4 + HEADER + 2, 1, true);
  bytes.set(text, HEADER + 4 + HEADER + 4);
  const [message] = readMessages(bytes, bytes.length);
  expect(readAcknowledgement(bytes, message!)).toEqual({ errno: 2, text: "no such thing" });
});

test("arbitrary bytes never throw, and nothing outside the range is read", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(20), (bytes, hostile) => {
      const padded = new Uint8Array(bytes.length + hostile).fill(0xff);
      padded.set(bytes);
      expect(readMessages(padded, bytes.length)).toEqual(readMessages(bytes, bytes.length));
      expect(attributes(padded, 0, bytes.length)).toEqual(attributes(bytes, 0, bytes.length));
      for (const message of readMessages(bytes, bytes.length)) readAcknowledgement(bytes, message);
      for (let at = 0; at < bytes.length; at++) expect(readU32(bytes, at, bytes.length)).toBeGreaterThanOrEqual(0);
    }),
  );
});
