import { expect, test } from "vitest";
import { rangesResource } from "../../../src/agent/cluster/ranges.ts";
import { isUninstalling } from "../../../src/agent/cluster/uninstall.ts";

const NOON = Date.parse("2026-03-01T12:00:00Z");
const MINUTE = 60_000;
const HOUR_AGO = NOON - 60 * MINUTE;
const told = (uninstall: unknown) => [
  { value: rangesResource("sallyport").trim({ data: { uninstall, podCIDRs: "" } }) },
];
const at = (ms: number): string => new Date(ms).toISOString();

const rows: readonly [what: string, objects: ReturnType<typeof told>, runsSince: number, expected: boolean][] = [
  ["nobody said anything", [], HOUR_AGO, false],
  ["a moment ago", told(at(NOON - 1_000)), HOUR_AGO, true],
  ["14 minutes ago", told(at(NOON - 14 * MINUTE)), HOUR_AGO, true],
  ["16 minutes ago", told(at(NOON - 16 * MINUTE)), HOUR_AGO, false],
  ["before this agent began", told(at(NOON - 2 * MINUTE)), NOON - MINUTE, false],
  ["by a clock that is a little ahead", told(at(NOON + 30_000)), HOUR_AGO, true],
  ["in the future", told(at(NOON + 5 * MINUTE)), HOUR_AGO, false],
  ["no time at all", told("now"), HOUR_AGO, false],
  ["something else", told(7), HOUR_AGO, false],
];

test.each(rows)("%s", (_, objects, runsSince, expected) => {
  expect(isUninstalling(objects, runsSince, NOON)).toBe(expected);
});
