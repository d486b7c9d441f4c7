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

/** However busy the machine is. */
async function until(what: () => boolean): Promise<void> {
  await expect.poll(what, { timeout: 15_000, interval: 20 }).toBe(true);
}

/** Descriptors of this process that lead to the file: the queues of the lanes. */
function openQueues(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => leadsTo(fd) === file);
}

function leadsTo(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "nowhere";
  }
}

describe("a packet lane", () => {
  test.each([
    ["crash", "a fault in the lane"],
    ["exit", "exit 3"],
    ["hang", "no pulse"],
    ["memory", "Worker terminated due to reaching memory limit: JS heap out of memory"],
  ])("that does %s is replaced, and its queues are let go", async (mode, reason) => {
    const { lane, replaced, messages } = handle(mode);
    await lane.start();
    expect(lane.alive).toBe(true);
    await until(() => replaced.length > 0);
    expect(replaced).toEqual([reason]);
    expect(statSync(file).size).toBe(2);
    expect(openQueues()).toHaveLength(1);
    lane.setProgram({} as ProgramData, {} as AgentConfig);
    await until(() => messages.length > 0);
    expect(messages).toEqual([{ kind: "adopted", epoch: 2 }]);
    expect(lane.alive).toBe(true);
    await lane.stop();
    expect(statSync(file).size).toBe(2);
  });

  test("that cannot be started is tried again until it can", async () => {
    const { lane, replaced } = handle("late");
    await lane.start();
    await until(() => replaced.length > 0);
    expect(readFileSync(file, "utf8")).toBe("xxxx");
    expect(openQueues()).toHaveLength(1);
    await lane.stop();
  });

  test("that is stuck in the kernel keeps the numbers of its queues until it has ended, and the queues no longer than others", async () => {
    const { lane, replaced } = handle("stuck");
    await lane.start();
    const [before = ""] = openQueues();
    await until(() => replaced.length > 0);
    expect(replaced).toEqual(["no pulse"]);
    // Its thread would write to what another file had got the number of.
    expect([openQueues().length, leadsTo(before)]).toEqual([1, "/dev/null"]);
    await until(() => leadsTo(before) !== "/dev/null");
    expect(openQueues()).toHaveLength(1);
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
