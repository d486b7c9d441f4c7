import { expect, test } from "vitest";
import { CarriedPairs } from "../../../src/inspector/carried-pairs.ts";
import { newFlowKey } from "../../../src/inspector/flow-table.ts";

const [WILD, QUIET, OTHER] = [1, 2, 3] as const;
const KEY = { ...newFlowKey(), protocol: 17, serverPort: 9000 };

test("who opened most of the flows is carried no more for a while, its neighbours are", () => {
  const pairs = new CarriedPairs(1, 5_000);
  for (let i = 0; i < 10_000; i++) pairs.opened(WILD);
  for (let i = 0; i < 10; i++) for (const id of [QUIET, OTHER]) pairs.opened(id);
  expect(pairs.bar(1_000)).toEqual([WILD]);
  expect([WILD, QUIET, OTHER].map((id) => pairs.take(id, KEY, 1_100))).toEqual([false, true, true]);
  pairs.flushed();
  expect(pairs.take(WILD, KEY, 10_900)).toBe(false);
  expect(pairs.take(WILD, KEY, 11_000)).toBe(true);
});

test("what was long ago counts for nobody, and without flows nobody is barred", () => {
  const pairs = new CarriedPairs(1, 5_000);
  expect(pairs.bar(1_000)).toEqual([]);
  for (let i = 0; i < 65_536; i++) pairs.opened(WILD);
  for (let i = 0; i < 100; i++) pairs.opened(QUIET);
  expect(pairs.bar(1_000)).toEqual([QUIET]);
  expect(pairs.bar(1_001)).toEqual([]);
});

test("a workload that is gone leaves nothing", () => {
  const pairs = new CarriedPairs(1, 5_000);
  pairs.opened(WILD);
  pairs.forget(WILD);
  expect(pairs.bar(1_000)).toEqual([]);
});
