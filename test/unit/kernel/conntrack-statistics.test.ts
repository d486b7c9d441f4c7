import { expect, test } from "vitest";
import { parseConntrackStatistics } from "../../../src/kernel/conntrack-statistics.ts";

const HEAD = "entries  clashres found new drop early_drop\n";

test.each([
  ["12\n", "262144\n", `${HEAD}0000000c 0 0 0 0000000a 0\n0000000c 0 0 0 00000001 0\n`, [12, 262144, 11]],
  ["0", "0", HEAD, [0, 0, 0]],
  ["0", "7", `${HEAD}junk\n`, [0, 7, 0]],
  ["", "7", HEAD, null],
  ["1", "", HEAD, null],
  ["1", "7", "", null],
  ["1", "7", "entries found\n1 2\n", null],
])("`%s` of `%s`", (count, limit, stat, expected) => {
  const read = parseConntrackStatistics(count, limit, stat);
  expect(read && [read.entries, read.limit, read.dropped]).toEqual(expected);
});
