import { describe, expect, test } from "vitest";
import { isCrowded, LEAST_ENTRIES, mostEntries } from "../../../src/agent/conntrack-shares.ts";

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
});
