import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sleep } from "../support/agent-lab.ts";
import { APP, FaultLab } from "../support/fault-lab.ts";

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("fpr");
  await fault.start();
});

afterAll(() => fault?.down());

/** The agent that the supervisor watches. */
function child(): number {
  const supervisor = fault.world.agent?.child.pid;
  return Number(readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, "latin1").trim());
}

describe("the agent's process", () => {
  test.each([
    ["is stopped", "SIGSTOP", "agent-hangs"],
    ["is killed", "SIGKILL", "agent-restarted"],
    ["aborts", "SIGABRT", "agent-restarted"],
  ] as const)("%s: another takes its place, what is allowed lives on, nothing opens", async (_what, signal, event) => {
    const { world } = fault;
    await fault.ready();
    const slow = fault.download(APP, "https://api.github.com/slow");
    await sleep(600);
    await world.lab.forgetOutside();
    const before = child();
    world.agent?.forgetLog();
    const begun = (await fault.metrics()).node("process_start_time_seconds");
    process.kill(before, signal);
    const waiting = fault.byAddress(APP, "12");
    await world.agent?.event(event);
    await world.agent?.event("ready", 10_000);
    expect(child()).not.toBe(before);
    expect(await waiting).toBe("200");
    await fault.ready();
    expect((await fault.metrics()).node("process_start_time_seconds")).toBeGreaterThan(begun);
    expect(await fault.closed()).toBe(true);
    expect(slow.runs()).toBe(true);
    slow.stop();
  });
});
