import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Applier } from "../../../src/agent/applier.ts";
import { createLogger } from "../../../src/agent/log.ts";
import type { Inputs } from "../../../src/agent/state.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const change = (name: string) => name as unknown as Inputs;

/** An applier whose first `failures` applications fail; what it tried, in order. */
function applier(failures: number) {
  const tried: unknown[] = [];
  let wanted = change("newest");
  const made = new Applier({
    apply: async (inputs) => {
      tried.push(inputs);
      if (tried.length <= failures) throw new Error("refused");
    },
    wanted: () => wanted,
    log: createLogger("silent"),
  });
  return {
    made,
    tried,
    want: (name: string) => {
      wanted = change(name);
    },
  };
}

test("what failed is tried again, later each time, as it is wanted by then", async () => {
  const { made, tried, want } = applier(3);
  await made.apply(change("a"));
  want("b");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(tried).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(tried).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(3_999);
  expect(tried).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(1);
  expect(tried).toHaveLength(4);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(tried).toHaveLength(4);
});

test("several failures make one retry; none after the end", async () => {
  const { made, tried } = applier(10);
  await Promise.all([made.apply(change("a")), made.apply(change("b"))]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(tried).toEqual(["a", "b", "newest"]);
  made.close();
  await vi.advanceTimersByTimeAsync(600_000);
  await made.apply(change("c"));
  expect(tried).toHaveLength(3);
});
