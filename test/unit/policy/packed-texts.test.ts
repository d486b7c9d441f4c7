import { describe, expect, test } from "vitest";
import { type PackedPlace, TextPacking } from "../../../src/policy/packed-texts.ts";
import { TEXT_PACKER } from "../../../src/workloads/text-packer.ts";

const TEXTS = Array.from({ length: 700 }, (_, index) => {
  const rest = [`"ä€😀"`, `"${"x".repeat(index)}"`, "", `"\ufeffmark"`][index % 4];
  return index % 10 === 0 ? "" : `[${index},${rest}]`;
});

const read = (places: readonly PackedPlace[]): string[] => places.map(({ texts, index }) => texts.of(index));

describe.each([false, true])("packed texts, put away as they come: %s", (eager) => {
  test("are what they were, before and after they are put away, and while others come", () => {
    const packing = new TextPacking(TEXT_PACKER, eager);
    const places = TEXTS.map((text) => packing.add(text));
    expect(read(places)).toEqual(TEXTS);
    packing.putAway();
    expect(read(places)).toEqual(TEXTS);
    for (const { texts } of places) texts.putAway();
    const more = TEXTS.map((text) => packing.add(text));
    packing.next();
    const last = packing.add("last");
    expect(read(places)).toEqual(TEXTS);
    expect(read(more)).toEqual(TEXTS);
    expect(read([last])).toEqual(["last"]);
  });

  test("can be had as they are packed at any time", () => {
    const packing = new TextPacking(TEXT_PACKER, eager);
    const places = TEXTS.map((text) => packing.add(text));
    for (const { texts, index } of places) {
      expect(TEXT_PACKER.unpack(texts.packed).split("\n")[index]).toBe(texts.of(index));
    }
  });
});

test("one that is long stands with few others: whoever asks for one makes all", () => {
  const packing = new TextPacking(TEXT_PACKER, true);
  const long = "y".repeat(200_000);
  const places = [long, "a", long, long, "b"].map((text) => packing.add(text));
  expect(read(places)).toEqual([long, "a", long, long, "b"]);
  expect(new Set(places.map(({ texts }) => texts)).size).toBe(4);
});
