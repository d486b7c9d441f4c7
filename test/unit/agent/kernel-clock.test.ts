import { expect, test } from "vitest";
import { KernelClock } from "../../../src/agent/kernel-clock.ts";

test("times of the kernel are read by the shift between the two clocks", () => {
  let shift = 500;
  let now = 1_000_000;
  const clock = new KernelClock(() => now + shift);
  expect(clock.read(1_000_400, now)).toBe(999_900);
  now += 3_600_000;
  shift += 20;
  expect(clock.read(now, now)).toBe(now - 520);
});

test("for a while after the machine's clock was set there is no telling", () => {
  let shift = 0;
  let now = 1_000_000;
  const clock = new KernelClock(() => now + shift);
  expect(clock.read(now - 5, now)).toBe(999_995);
  shift = -10_000;
  expect(clock.read(now - 5, now)).toBeNull();
  now += 29_000;
  expect(clock.read(now, now)).toBeNull();
  now += 2_000;
  expect(clock.read(now - 10_000, now)).toBe(now);
});
