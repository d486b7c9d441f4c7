import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawKeys, EVERY_LEVEL, HASH, LONGEST, levelBit, NameHasher } from "../../../src/program/name-hash.ts";
import { runs } from "../../support/runs.ts";

const LANES = 3;
const keys = drawKeys();
const hasher = new NameHasher();

/** By the formula: bytes as their complement, four a word from the end on, `k0 + k1·w1 + k2·w2 + …` modulo 2^64, its upper half. */
function plain(suffix: string, lane: number): number {
  const words = new BigUint64Array(keys.buffer);
  const bytes = [...new TextEncoder().encode(suffix)].map((byte) => byte ^ 0xff);
  let sum = words[lane]!;
  for (let end = bytes.length, key = 1; end > 0; end -= 4, key++) {
    const four = [4, 3, 2, 1].map((back) => BigInt(bytes[end - back] ?? 0));
    const word = four[0]! | (four[1]! << 8n) | (four[2]! << 16n) | (four[3]! << 24n);
    sum += words[key * LANES + lane]! * word;
  }
  return Number(BigInt.asIntN(32, sum >> 32n));
}

/** Of all suffixes that begin at a label, the shortest first; those that are not the name itself have the last bit turned. */
function plainHashes(name: string): number[] {
  const labels = name.split(".");
  return labels.flatMap((_, at) => {
    const suffix = labels.slice(labels.length - 1 - at).join(".");
    const below = at < labels.length - 1 ? 1 : 0;
    return [plain(suffix, 0), plain(suffix, 1), plain(suffix, 2) ^ below];
  });
}

function hashes(name: string, levels = EVERY_LEVEL, from = hasher): number[] {
  return [...from.results.subarray(0, from.hash(name, keys, levels))];
}

describe("hashes of names", () => {
  // A slash differs from a dot in the last bit only; the neighbours of dots must not be taken for dots.
  const piece = fc.constantFrom(
    "a",
    "b",
    "example",
    ".",
    "..",
    "/",
    "./",
    "-",
    "\0",
    "\x7f",
    "é",
    "ａ",
    "\ud800",
    "😀",
  );
  const name = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join("").slice(0, LONGEST));

  test("are what the formula says, of every suffix", () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(hashes(text)).toEqual(plainHashes(text));
      }),
      { numRuns: runs(500) },
    );
  });

  test.each(["a".repeat(LONGEST), ".".repeat(LONGEST), "ａ".repeat(LONGEST), `${"ａ".repeat(LONGEST - 5)}.test`])(
    "of the longest names (case %#)",
    (text) => {
      expect(hashes(text)).toEqual(plainHashes(text));
    },
  );

  test("of the levels that are asked for, all from the thirty-second on together", () => {
    const text = Array.from({ length: 40 }, (_, i) => `l${i}`).join(".");
    const all = plainHashes(text);
    const level = (i: number) => all.slice(i * HASH.stride, (i + 1) * HASH.stride);
    expect(hashes(text, 0)).toEqual([]);
    expect(hashes(text, 0b101)).toEqual([...level(0), ...level(2)]);
    expect(hashes(text, 1 << 31)).toEqual(all.slice(31 * HASH.stride));
  });

  test("nothing of a name is left in the next", () => {
    const fresh = new NameHasher();
    hashes("www.some-longer-name.example.test", EVERY_LEVEL, fresh);
    for (const text of ["", "a", "ab.c", "abc.de"]) expect(hashes(text, EVERY_LEVEL, fresh)).toEqual(plainHashes(text));
  });

  test.each<[string, number]>([
    ["test", 0],
    ["a.test", 1],
    [Array.from({ length: 32 }, () => "a").join("."), 31],
    [Array.from({ length: 40 }, () => "a").join("."), 31],
  ])("%s is of level %i", (text, level) => {
    expect(levelBit(hasher.hash(text, keys, EVERY_LEVEL))).toBe(1 << level);
  });

  test("keys are drawn anew", () => {
    expect(drawKeys()).not.toEqual(keys);
  });
});
