import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { BALLAST, Ballast } from "../../../src/agent/ballast.ts";
import { markLayout } from "../../../src/kernel/marks.ts";
import type { Queue } from "../../../src/kernel/queue.ts";
import { queueHasTable } from "../../../src/kernel/queue-table.ts";

const OUTPUT = 3;
const FORWARD = 2;
const OURS = Uint8Array.from([0x45, 0, 0, 20, 0, 0, 0, 0, 1, 253, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);

/** A queue whose batch has one packet, and the verdicts that it got. */
function queueOf(bytes: Uint8Array, hook = OUTPUT) {
  const dropped: number[] = [];
  const batch = { bytes, offset: [0], length: [bytes.length], hook: [hook], id: [7], mark: [0x20] };
  const verdict = (id: number, accept: boolean) => dropped.push(accept ? -id : id);
  return { queue: { batch, verdict } as unknown as Queue, dropped };
}

const ballastOf = (queue: Queue) => new Ballast(queue, markLayout(0x3f), false);
const changed = (at: number, value: number) => OURS.map((byte, i) => (i === at ? value : byte));

describe("a packet of the strict queue", () => {
  test("of our own stays there, up to what is needed; others of the kind are dropped", () => {
    const { queue, dropped } = queueOf(OURS);
    const ballast = ballastOf(queue);
    for (let i = 0; i < BALLAST; i++) expect(ballast.takes(0)).toBe(true);
    expect(dropped).toEqual([]);
    expect([ballast.takes(0), ballast.size, ballast.taken]).toEqual([true, BALLAST, BALLAST + 1]);
    expect(dropped).toEqual([7]);
  });

  test.each<readonly [string, Uint8Array, number]>([
    ["that a pod sends", OURS, FORWARD],
    ["of another protocol", changed(9, 17), OUTPUT],
    ["from another address", changed(12, 10), OUTPUT],
    ["of another version", changed(0, 0x65), OUTPUT],
    ["that is too short", OURS.subarray(0, 19), OUTPUT],
  ])("%s is for the inspector", (_, bytes, hook) => {
    const { queue, dropped } = queueOf(bytes, hook);
    expect([ballastOf(queue).takes(0), dropped]).toEqual([false, []]);
  });
});

describe("whether the kernel finds packets of a queue by a table", () => {
  const folder = mkdtempSync(join(tmpdir(), "queue-table-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test("is what its description of types says, wherever in the file", () => {
    for (const before of [0, 1, 65_520, 65_536, 65_545, 200_000]) {
      const path = file("described", `${"x".repeat(before)}nfqnl_packet_map\0`);
      expect([before, queueHasTable([join(folder, "none"), path])]).toEqual([before, true]);
    }
  });

  test("is not believed of one that does not say it, or says nothing", () => {
    expect(queueHasTable([file("older", `${"x".repeat(100_000)}nfqnl_packet_ma`)])).toBe(false);
    expect(queueHasTable([])).toBe(false);
  });
});
