import { describe, expect, test } from "vitest";
import { isCrowded, LEAST_ENTRIES, mostEntries, roomUntil } from "../../../src/agent/conntrack-shares.ts";

const LIMIT = 262_144;

/** So many workloads take whatever they may, one entry after the other; what each has then, and what is free. */
function fill(workloads: number) {
  let each = 0;
  while (each < mostEntries(each * workloads, LIMIT)) each++;
  return { each, free: LIMIT - each * workloads };
}

describe("shares of conntrack", () => {
  test.each([1, 2, 5, 110])("%i that take all they can leave two shares free", (workloads) => {
    const { each, free } = fill(workloads);
    expect(each).toBeCloseTo(LIMIT / (workloads + 2), -1);
    expect(free).toBeGreaterThan(each);
  });

  test("nobody is counted while nobody can have too much", () => {
    expect(isCrowded(LIMIT / 3 - 10, LIMIT)).toBe(false);
    expect(isCrowded(LIMIT / 3 + 10, LIMIT)).toBe(true);
  });

  test("a full table leaves each workload a little", () => {
    expect(mostEntries(LIMIT, LIMIT)).toBe(LEAST_ENTRIES);
    expect(isCrowded(LIMIT, LIMIT)).toBe(true);
    expect(isCrowded(500, 600)).toBe(false);
  });

  test.each([
    [90_000, 80_000],
    [150_000, 1_000],
    [250_000, 900],
    [262_144, 0],
  ])("of %i entries, the largest share of which is %i, nobody has too much before so many more", (entries, largest) => {
    const until = roomUntil(entries, largest, LIMIT);
    expect(until).toBeGreaterThanOrEqual(entries);
    // All that come are the largest one's.
    for (let more = 0; entries + more <= until; more += 50)
      expect(largest + more).toBeLessThanOrEqual(mostEntries(entries + more, LIMIT));
  });

  test("who has too much is not looked for again", () => {
    expect(roomUntil(200_000, 60_000, LIMIT)).toBe(Number.POSITIVE_INFINITY);
  });
});
