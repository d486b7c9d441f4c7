import { describe, expect, test } from "vitest";
import { MessageWriter, readMessages } from "../../../src/kernel/netlink-message.ts";
import { concatenatedKey, MOST_ELEMENTS, type SetChange, writeSetChange } from "../../../src/kernel/set-elements.ts";
import { parseAddress } from "../../../src/net/address.ts";

const address = (text: string) => parseAddress(text)!;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** The messages of a transaction, each as one string of hex digits. */
function written(change: SetChange): string[] {
  const writer = new MessageWriter(64 * 1024);
  writeSetChange(writer, "t", change, 7);
  return readMessages(writer.bytes, writer.length).map(({ start, end }) => hex(writer.bytes.subarray(start - 16, end)));
}

const BEGIN = "14000000100001000700000000000000" + "0000000a";
const END = "14000000110001000700000000000000" + "0000000a";
const TABLE_SET = "0600010074000000" + "0600020073000000";

describe("a transaction as nftables wants it", () => {
  test("an element with its timeout, in milliseconds", () => {
    const key = concatenatedKey([address("10.244.0.2"), { value: 17, bytes: 1 }, { value: 443, bytes: 2 }]);
    expect(written({ kind: "add", set: "s", keys: [key], timeoutMs: 30_000 })).toEqual([
      BEGIN,
      [
        "4c000000" + "0c0a" + "0504" + "07000000" + "00000000" + "01000000",
        TABLE_SET,
        "28000380" + "24000180",
        "14000180" + "10000100" + "0af40002" + "11000000" + "01bb0000",
        "0c000400" + "0000000000007530",
      ].join(""),
      END,
    ]);
  });

  test("an element that stays", () => {
    const [, add] = written({ kind: "add", set: "s", keys: [Uint8Array.of(1, 2, 3, 4)], timeoutMs: 0 });
    expect(add!.slice(40)).toBe(`${TABLE_SET}14000380100001800c0001800800010001020304`);
  });

  test("a deletion names its elements", () => {
    const [, remove] = written({ kind: "delete", set: "s", keys: [Uint8Array.of(1, 2, 3, 4)] });
    expect(remove).toBe(`380000000e0a0500070000000000000001000000${TABLE_SET}14000380100001800c0001800800010001020304`);
  });

  test("what takes the place of all there is, in maps with its value; an empty set is only emptied", () => {
    const element = { key: Uint8Array.of(1, 2, 3, 4), data: Uint8Array.of(5, 6, 7, 8) };
    const sets = [
      { set: "s", elements: [element] },
      { set: "s", elements: [] },
    ];
    expect(written({ kind: "replace", sets })).toEqual([
      BEGIN,
      `240000000e0a0100070000000000000001000000${TABLE_SET}`,
      `440000000c0a0104070000000000000001000000${TABLE_SET}2000038${"0"}1c0001800c000180080001000102030${"4"}0c000280080001000506070${"8"}`,
      `240000000e0a0500070000000000000001000000${TABLE_SET}`,
      END,
    ]);
  });

  test("a flush of two sets is acknowledged once, at the end", () => {
    expect(written({ kind: "flush", sets: ["s", "s"] })).toEqual([
      BEGIN,
      `240000000e0a0100070000000000000001000000${TABLE_SET}`,
      `240000000e0a0500070000000000000001000000${TABLE_SET}`,
      END,
    ]);
  });
});

test("fields of a key begin at multiples of four", () => {
  expect(hex(concatenatedKey([address("2001:db8::1"), { value: 6, bytes: 1 }, { value: 0x1234, bytes: 2 }]))).toBe(
    `20010db80000000000000000000000010600000012340000`,
  );
});

describe("beyond the limits nothing is written for the kernel", () => {
  const key = Uint8Array.of(1, 2, 3, 4);
  test.each<[string, SetChange]>([
    ["a deletion of nothing, which the kernel would take for a flush", { kind: "delete", set: "s", keys: [] }],
    ["an addition of nothing", { kind: "add", set: "s", keys: [], timeoutMs: 1 }],
    ["too many elements", { kind: "delete", set: "s", keys: Array(MOST_ELEMENTS + 1).fill(key) }],
    ["an empty key", { kind: "delete", set: "s", keys: [new Uint8Array(0)] }],
    ["a key too long", { kind: "delete", set: "s", keys: [new Uint8Array(65)] }],
    ["too many sets", { kind: "flush", sets: Array(17).fill("s") }],
  ])("%s", (_name, change) => {
    expect(() => written(change)).toThrow(RangeError);
  });

  test("as many as are allowed, with the longest keys, fit", () => {
    const keys = Array(MOST_ELEMENTS).fill(new Uint8Array(64));
    expect(written({ kind: "add", set: "s", keys, timeoutMs: 1 })).toHaveLength(3);
  });
});
