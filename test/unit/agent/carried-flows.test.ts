import { afterEach, expect, test } from "vitest";
import { CarriedFlows } from "../../../src/agent/carried-flows.ts";
import type { PacketLog, TakeRecord } from "../../../src/kernel/packet-log.ts";

/** Three records at each read, numbered by their first byte. */
function logOf() {
  const log = {
    fd: 0,
    overruns: 0,
    counters: { received: 0, lost: 0, malformed: 0 },
    read(each: TakeRecord) {
      for (const number of [1, 2, 3]) {
        log.counters.received++;
        each(Uint8Array.of(number), 0, 1);
      }
    },
    finish: (each: TakeRecord) => log.read(each),
    close: () => undefined,
  };
  return log;
}

let carried: CarriedFlows;
afterEach(() => carried.close());

test("a record that cannot be taken is lost alone, and counted with those that the kernel lost", () => {
  const log = logOf();
  carried = new CarriedFlows(log as unknown as PacketLog, logOf() as unknown as PacketLog, 1);
  const taken: number[] = [];
  const take = (bytes: Uint8Array): void => {
    if (bytes[0] === 2) throw new Error("two");
    taken.push(bytes[0]!);
  };
  expect(String(carried.take(take, 0))).toBe("Error: two");
  expect(taken).toEqual([1, 3]);
  expect(carried.missed()).toBe(1);
  expect(carried.missed()).toBeNull();
  expect(carried.take(() => undefined, 0)).toBeNull();
  log.counters.lost = 4;
  expect(carried.missed()).toBe(4);
  carried.finish(take);
  expect(taken).toEqual([1, 3, 1, 3]);
  expect(carried.missed()).toBe(1);
});
