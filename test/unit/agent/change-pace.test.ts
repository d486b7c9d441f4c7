import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ChangePace } from "../../../src/agent/change-pace.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** `takes`: milliseconds that making a change takes. @returns when each was made */
function paced(takes = 0): { readonly pace: ChangePace; readonly made: number[] } {
  const began = performance.now();
  const made: number[] = [];
  const pace = new ChangePace(() => {
    made.push(Math.round(performance.now() - began));
    vi.advanceTimersByTime(takes);
  });
  return { pace, made };
}

test("a change is made at once, those that follow it together", () => {
  const { pace, made } = paced();
  for (let i = 0; i < 5; i++) pace.changed();
  vi.advanceTimersByTime(1);
  for (let i = 0; i < 5; i++) pace.changed();
  vi.advanceTimersByTime(100);
  pace.changed();
  vi.advanceTimersByTime(100);
  expect(made).toEqual([0, 10, 101]);
});

test("changes that never end take no more than half of the time", () => {
  const { pace, made } = paced(30);
  for (let i = 0; i < 200; i++) {
    pace.changed();
    vi.advanceTimersByTime(1);
  }
  expect(made.length).toBeGreaterThanOrEqual(3);
  for (let i = 1; i < made.length; i++) expect(made[i]! - made[i - 1]!).toBeGreaterThanOrEqual(60);
});

test("what is closed makes nothing more", () => {
  const { pace, made } = paced();
  pace.changed();
  pace.close();
  vi.advanceTimersByTime(100);
  expect(made).toEqual([]);
});
