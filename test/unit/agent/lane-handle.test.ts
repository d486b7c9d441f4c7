import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LaneHandle, type LaneListener } from "../../../src/agent/lane-handle.ts";
import type { FromLane } from "../../../src/agent/lane-messages.ts";
import { createLogger } from "../../../src/agent/log.ts";
import type { AgentConfig } from "../../../src/model/config.ts";
import type { ProgramData } from "../../../src/program/layout.ts";

const STUB = new URL("../../support/stub-lane.ts", import.meta.url);

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sallyport-lane-"));
  file = join(folder, "starts");
});
afterEach(() => rmSync(folder, { recursive: true }));

function handle(mode: string) {
  const replaced: string[] = [];
  const messages: FromLane[] = [];
  const listener: LaneListener = {
    onEvent: () => undefined,
    behind: false,
    onDrained: () => true,
    onLost: () => undefined,
    onMessage: (message) => messages.push(message),
    bindings: () => [],
    onReplaced: (reason) => replaced.push(reason),
  };
  const input = {
    program: {} as ProgramData,
    config: {} as AgentConfig,
    generation: 0 as const,
    former: false,
    adopting: false,
    run: `${mode} ${file}`,
    beatDescriptor: -1,
    boundaries: null,
    hostPods: [],
  };
  return { lane: new LaneHandle(STUB, input, listener, createLogger("silent"), 48), replaced, messages };
}

async function until(what: () => boolean, ms: number): Promise<number> {
  const begun = performance.now();
  while (!what()) {
    if (performance.now() - begun > ms) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return performance.now() - begun;
}

/** Descriptors of this process that lead to the file: the queues of the lanes. */
function openQueues(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file;
    } catch {
      return false;
    }
  }).length;
}

describe("a packet lane", () => {
  test.each([
    ["crash", "a fault in the lane", 2_000],
    ["exit", "exit 3", 2_000],
    ["hang", "no pulse", 4_000],
    ["memory", "Worker terminated due to reaching memory limit: JS heap out of memory", 15_000],
  ])("that does %s is replaced, and its queues are let go", async (mode, reason, ms) => {
    const { lane, replaced, messages } = handle(mode);
    await lane.start();
    expect(lane.alive).toBe(true);
    await until(() => replaced.length > 0, ms);
    expect(replaced).toEqual([reason]);
    expect(statSync(file).size).toBe(2);
    expect(openQueues()).toBe(1);
    lane.setProgram({} as ProgramData, {} as AgentConfig);
    await until(() => messages.length > 0, 1_000);
    expect(messages).toEqual([{ kind: "adopted", epoch: 2 }]);
    expect(lane.alive).toBe(true);
    await lane.stop();
    expect(statSync(file).size).toBe(2);
  });

  test("that cannot be started is tried again until it can", async () => {
    const { lane, replaced } = handle("late");
    await lane.start();
    await until(() => replaced.length > 0, 4_000);
    expect(readFileSync(file, "utf8")).toBe("xxxx");
    expect(openQueues()).toBe(1);
    await lane.stop();
  });

  test("is renewed when asked to, and left alone while it works", async () => {
    const { lane, replaced } = handle("good");
    await lane.start();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(replaced).toEqual([]);
    await lane.renew("its settings have changed");
    expect(replaced).toEqual(["its settings have changed"]);
    expect(lane.restarts).toBe(1);
    await lane.stop();
  });
});
