import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MemoryKeeper } from "../../../src/agent/memory-keeper.ts";

const MIB = 1024 * 1024;
const MINUTE = 60_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A process that needs 100 MiB; what it holds beyond that is let go of. */
function processWith(held: { resident: number; busy: number }) {
  const done: string[] = [];
  const keeper = new MemoryKeeper({
    release: (thoroughly) => done.push(thoroughly ? "release" : "collect"),
    trim: () => {
      done.push("trim");
      held.resident = 100 * MIB;
    },
    resident: () => held.resident,
    busy: () => held.busy,
  });
  const check = (now: number) => {
    keeper.check(now);
    vi.advanceTimersByTime(1_000);
    return done.splice(0).join(" ");
  };
  return { keeper, check, done };
}

describe("memory is given back", () => {
  test("after the start, then only when the process has grown", () => {
    const held = { resident: 150 * MIB, busy: 0 };
    const { check } = processWith(held);
    expect(check(0)).toBe("release trim");
    expect(check(5_000)).toBe("");
    held.resident = 107 * MIB;
    expect(check(10_000)).toBe("");
    held.resident = 108 * MIB;
    expect(check(15_000)).toBe("release trim");
  });

  test("not again and again where little comes back each time, but at once where it is much", () => {
    const held = { resident: 150 * MIB, busy: 0 };
    const { check } = processWith(held);
    expect(check(0)).toBe("release trim");
    held.resident = 115 * MIB;
    expect(check(2_000)).toBe("");
    held.resident = 116 * MIB;
    expect(check(4_000)).toBe("release trim");
    held.resident = 110 * MIB;
    expect(check(13_999)).toBe("");
    expect(check(14_000)).toBe("release trim");
  });

  test("every ten seconds at most from a main thread that works, and not thoroughly", () => {
    const held = { resident: 150 * MIB, busy: 0.2 };
    const { check } = processWith(held);
    expect(check(0)).toBe("release trim");
    held.resident = 200 * MIB;
    expect(check(9_999)).toBe("");
    expect(check(10_000)).toBe("collect trim");
    // The young generation is still large then, so what has come since is more.
    held.resident = 102 * MIB;
    expect(check(30_000)).toBe("");
    held.resident = 103 * MIB;
    expect(check(40_000)).toBe("collect trim");
  });

  test("once a minute from a main thread that is busy, at once when it rests", () => {
    const held = { resident: 150 * MIB, busy: 0.9 };
    const { check } = processWith(held);
    expect(check(0)).toBe("release trim");
    held.resident = 200 * MIB;
    expect(check(MINUTE - 1)).toBe("");
    expect(check(MINUTE)).toBe("collect trim");
    held.resident = 200 * MIB;
    held.busy = 0.01;
    expect(check(MINUTE + 5_000)).toBe("release trim");
  });

  test("by itself, until it is closed", () => {
    const held = { resident: 150 * MIB, busy: 0 };
    const { keeper, done } = processWith(held);
    keeper.start();
    vi.advanceTimersByTime(2_299);
    expect(done).toEqual([]);
    vi.advanceTimersByTime(101);
    expect(done).toEqual(["release", "trim"]);
    held.resident = 150 * MIB;
    vi.advanceTimersByTime(1_950);
    expect(done).toEqual(["release", "trim", "release"]);
    keeper.close();
    vi.advanceTimersByTime(MINUTE);
    expect(done).toEqual(["release", "trim", "release"]);
  });
});
