import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { formatAddress } from "../../../src/net/address.ts";
import { NriSession } from "../../../src/nri/session.ts";
import { FakeRuntime, message, piece, podMessage, podRequest, stateChange } from "../../support/fake-runtime.ts";
import { runs } from "../../support/runs.ts";
import { GOLDEN } from "./golden.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-nri-"));
const WEB = { id: "s1", uid: "u1", ips: ["10.244.0.7", "fd00:244::7"] };
const SOON = { timeout: 5_000, interval: 10 };

let runtime: FakeRuntime;
let session: NriSession;
let told: string[];
let release: () => void;
let held: Promise<void>;
let fails: boolean;
let breaks: boolean;

async function open(settings: Parameters<typeof FakeRuntime.listen>[1] = {}): Promise<void> {
  runtime = await FakeRuntime.listen(join(folder, "nri.sock"), settings);
  session = new NriSession(connect({ path: runtime.path }), {
    onSandboxes: (sandboxes, { runtime, version, requestTimeout }) =>
      told.push(`sync ${runtime} ${version} ${requestTimeout}: ${sandboxes.map(({ uid }) => uid).join()}`),
    onRun: ({ uid, id, addresses }) => {
      if (breaks) throw new Error("a fault");
      told.push(`run ${uid} ${id} ${addresses.map(formatAddress).join()}`);
      return fails ? Promise.reject(new Error("broken")) : held;
    },
    onStop: ({ uid, id }) => void told.push(`stop ${uid} ${id}`),
    onClose: (why) => void told.push(`closed: ${why}`),
  });
  await expect.poll(() => told.length, SOON).toBeGreaterThan(0);
}

beforeEach(() => {
  told = [];
  fails = false;
  breaks = false;
  held = new Promise((resolve) => {
    release = resolve;
  });
});

afterEach(async () => {
  session.close("the test is over");
  await runtime.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

describe("a session", () => {
  test("registers, subscribes three events of sandboxes and none of containers, and hears of what runs", async () => {
    await open({ pods: [podMessage(WEB)] });
    expect(runtime.registered).toEqual(["90-sallyport"]);
    expect(runtime.events).toBe(0b111);
    expect(told).toEqual(["sync containerd v2.4.2 2000: u1"]);
  });

  test("hears a list that comes in several messages as one", async () => {
    const pods = Array.from({ length: 9 }, (_, n) => podMessage({ id: `s${n}`, uid: `u${n}`, ips: [] }));
    await open({ pods, parts: 3 });
    expect(told).toEqual(["sync containerd v2.4.2 2000: u0,u1,u2,u3,u4,u5,u6,u7,u8"]);
  });

  test("does not answer that a sandbox runs before it may, and meanwhile hears the rest", async () => {
    await open();
    let answered = false;
    const answer = runtime.ask("RunPodSandbox", podRequest(WEB)).then(() => {
      answered = true;
    });
    await runtime.ask("StopPodSandbox", podRequest({ id: "s0", uid: "u0", ips: [] }));
    await runtime.ask("RemovePodSandbox", podRequest({ id: "s0", uid: "u0", ips: [] }));
    expect(answered).toBe(false);
    release();
    await answer;
    expect(told.slice(1)).toEqual(["run u1 s1 10.244.0.7,fd00:244::7", "stop u0 s0", "stop u0 s0"]);
  });

  test("hears what runtimes with an older NRI say", async () => {
    await open();
    release();
    await runtime.ask("StateChange", stateChange(1, WEB));
    await runtime.ask("StateChange", stateChange(2, WEB));
    await runtime.ask("StateChange", stateChange(3, WEB));
    await runtime.ask("StateChange", stateChange(6, WEB));
    expect(told.slice(1)).toEqual(["run u1 s1 10.244.0.7,fd00:244::7", "stop u1 s1", "stop u1 s1"]);
  });

  test("a failure of ours is no failure of the pod's start", async () => {
    await open();
    fails = true;
    await runtime.ask("RunPodSandbox", podRequest(WEB));
    await runtime.ask("RunPodSandbox", Buffer.from([0xff]));
    expect(told.length).toBe(2);
  });

  test("refuses what it did not subscribe, and what is no request", async () => {
    await open();
    await expect(runtime.ask("CreateContainer", Buffer.alloc(0))).rejects.toThrow("status 12");
    await expect(runtime.ask("RunPodSandbox", podRequest(WEB), "other.Service")).rejects.toThrow("status 12");
    await expect(runtime.ask("Configure", Buffer.from([0xff]))).rejects.toThrow("status 3");
    expect(told.length).toBe(1);
  });

  test.each<[what: string, bytes: Buffer, why: RegExp]>([
    ["a piece too large", Buffer.from([0, 0, 0, 1, 255, 0, 0, 0]), /larger than NRI sends/],
    ["a message too large", piece(1, Buffer.from([255, 0, 0, 0, 0, 0, 0, 1, 1, 0])), /larger than ttrpc allows/],
    ["an answer that cannot be read", piece(2, message(1, 2, Buffer.from([0xff]))), /cannot be read/],
    ["a refusal", piece(2, message(1, 2, Buffer.from([0x0a, 5, 0x08, 3, 0x12, 1, 0x78]))), /refuses plug-ins: x/],
  ])("%s ends it, once", async (_, bytes, why) => {
    await open();
    runtime.raw(bytes);
    runtime.raw(bytes);
    await expect.poll(() => told.at(-1), SOON).toMatch(why);
    expect(told.length).toBe(2);
  });

  test("who asks without waiting for answers is left", async () => {
    await open();
    for (let n = 0; n < 100; n++) void runtime.ask("RunPodSandbox", podRequest({ ...WEB, id: `s${n}` }));
    await expect.poll(() => told.at(-1), SOON).toMatch(/asks too much/);
    expect(told.filter((line) => line.startsWith("run")).length).toBe(64);
  });

  test("who reads no answers is left", async () => {
    await open();
    runtime.deaf();
    const refused = message(9, 1, Buffer.from([0xff]));
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => piece(1, refused)));
    const until = performance.now() + SOON.timeout;
    while (told.length === 1 && performance.now() < until) {
      runtime.raw(many);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(told.at(-1)).toBe("closed: the runtime does not read answers");
  });

  test("what is told before the list is agreed to, and not passed on", async () => {
    await open();
    session.close("another");
    await runtime.close();
    told = [];
    runtime = await FakeRuntime.listen(join(folder, "early.sock"), { early: podRequest(WEB) });
    session = new NriSession(connect({ path: runtime.path }), {
      onSandboxes: () => told.push("sync"),
      onRun: async ({ uid }) => void told.push(`run ${uid}`),
      onStop: ({ uid }) => void told.push(`stop ${uid}`),
      onClose: (why) => void told.push(`closed: ${why}`),
    });
    await expect.poll(() => told, SOON).toEqual(["sync"]);
    await runtime.ask("RunPodSandbox", podRequest(WEB));
    expect(told).toEqual(["sync", "run u1"]);
  });

  test("a list with more sandboxes than a node has is not taken in part", async () => {
    const pods = Array.from({ length: 8_193 }, (_, n) => podMessage({ id: `s${n}`, uid: `u${n}`, ips: [] }));
    await open({ pods, parts: 3 });
    expect(told).toEqual(["closed: the runtime tells of more than 8192 sandboxes"]);
  });

  test("property: whatever is asked, however wrong, is answered, or ends the session", async () => {
    await open();
    release();
    const methods = ["Configure", "Synchronize", "RunPodSandbox", "StopPodSandbox", "StateChange", "Shutdown", "", "é"];
    const whole = Object.values(GOLDEN);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...methods),
        fc.constantFrom(...whole),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        async (method, golden, changes) => {
          const payload = Buffer.from(golden);
          for (const [at, value] of changes) payload[at % payload.length] = value;
          await runtime.ask(method, payload).catch(() => undefined);
        },
      ),
      { numRuns: runs(500) },
    );
    expect(told.filter((line) => line.startsWith("closed"))).toEqual([]);
  });

  test("a fault of ours ends the session, not the agent", async () => {
    await open();
    breaks = true;
    runtime.raw(piece(1, message(99, 1, Buffer.from(GOLDEN.request))));
    await expect.poll(() => told.at(-1), SOON).toMatch(/^closed: Error: a fault/);
  });

  test("says when the runtime goes", async () => {
    await open();
    runtime.hangUp();
    await expect.poll(() => told.at(-1), SOON).toMatch(/^closed: the runtime has closed/);
  });
});
