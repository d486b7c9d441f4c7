import { expect, test } from "vitest";
import { Beginnings } from "../../../src/agent/beginnings.ts";

const programOf = (...ids: number[]) => ({ workloadCount: ids.length, workloadId: (row: number) => ids[row]! });

test("what an address had in conntrack before a pod came to it is not of that pod", () => {
  const beginnings = new Beginnings();
  beginnings.note(programOf(1), 1_000_000);
  beginnings.note(programOf(1, 2), 2_000_000);
  const can = (id: number) => [0, 1, 1_989_999, 1_990_000, 2_000_001].map((start) => beginnings.canBeOf(id, start));
  expect(can(1)).toEqual([true, true, true, true, true]);
  expect(can(2)).toEqual([true, false, false, true, true]);
});

test("a pod that is known goes on being known since then", () => {
  const beginnings = new Beginnings();
  beginnings.note(programOf(), 1_000_000);
  const program = programOf(2);
  beginnings.note(program, 2_000_000);
  beginnings.note(program, 3_000_000);
  beginnings.note(programOf(2, 3), 4_000_000);
  expect(beginnings.canBeOf(2, 2_500_000)).toBe(true);
  expect(beginnings.canBeOf(3, 2_500_000)).toBe(false);
});
