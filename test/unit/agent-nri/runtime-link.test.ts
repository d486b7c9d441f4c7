import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Logger } from "../../../src/agent/log.ts";
import { runtimeCondition } from "../../../src/agent/nri/report.ts";
import { RuntimeLink } from "../../../src/agent/nri/runtime-link.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { type Pod, readPod } from "../../../src/workloads/pod.ts";
import { FakeRuntime, podMessage, podRequest } from "../../support/fake-runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-nri-link-"));
const path = join(folder, "nri.sock");
const SOON = { timeout: 5_000, interval: 10 };
const WEB = { id: "s1", uid: "u1", ips: ["10.244.0.7"] };
const pod = (uid: string) => readPod({ metadata: { uid, name: uid, namespace: "team" } }) as Pod;

let runtime: FakeRuntime | null;
let link: RuntimeLink;
let log: string[];
/** Pods that the API server has told; each change makes policies be compiled with them, and put into force. */
let pods: Pod[];
let compiling: boolean;

function compile(): void {
  if (!compiling) return;
  const settled = link.settle(pods);
  queueMicrotask(() => link.inForce(settled as unknown as Workload[]));
}

const write = ({ event }: { event: string }, message: string) => log.push(`${event}: ${message}`);

beforeEach(() => {
  [runtime, log, pods, compiling] = [null, [], [pod("u1")], true];
  link = new RuntimeLink({
    socket: path,
    log: { info: write, warn: write } as unknown as Logger,
    changed: compile,
    onConnection: () => log.push(link.report.connected ? "up" : "down"),
    backoff: { firstMs: 20, longestMs: 40 },
  });
});

afterEach(async () => {
  link.close();
  await runtime?.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

async function listen(settings: Parameters<typeof FakeRuntime.listen>[1] = {}): Promise<FakeRuntime> {
  runtime = await FakeRuntime.listen(path, settings);
  await expect.poll(() => link.report.connected, SOON).toBe(true);
  return runtime;
}

describe("the link to a runtime", () => {
  test("answers when the pod is in force", async () => {
    link.start();
    const runtime = await listen();
    await runtime.ask("RunPodSandbox", podRequest(WEB));
    expect(link.report).toMatchObject({ sandboxes: 1, starts: { inForce: 1, late: 0, notWaited: 0 } });
    await runtime.ask("StopPodSandbox", podRequest(WEB));
    expect(link.report.sandboxes).toBe(0);
  });

  test("waits for a pod of which the API server has not told, and no longer than the bound", async () => {
    pods = [];
    link.start();
    const runtime = await listen({ requestTimeout: 400 });
    const first = runtime.ask("RunPodSandbox", podRequest(WEB));
    await expect.poll(() => link.report.sandboxes, SOON).toBe(1);
    pods = [pod("u1")];
    compile();
    await first;
    expect(link.report.starts).toMatchObject({ inForce: 1, late: 0 });
    await runtime.ask("RunPodSandbox", podRequest({ ...WEB, id: "s2", uid: "u2", ips: ["10.244.0.8"] }));
    expect(link.report.starts).toMatchObject({ inForce: 1, late: 1 });
    expect(log.filter((line) => line.startsWith("pod-started-unknown"))).toHaveLength(1);
  });

  test("waits for no pod of the host's network, and no static one", async () => {
    compiling = false;
    link.start();
    const runtime = await listen();
    await runtime.ask("RunPodSandbox", podRequest({ ...WEB, ips: [] }));
    await runtime.ask("RunPodSandbox", podRequest({ ...WEB, source: "file" }));
    expect(link.report.starts).toMatchObject({ inForce: 0, late: 0, notWaited: 2, waitSeconds: 0 });
  });

  test("knows what ran before it came", async () => {
    link.start();
    await listen({ pods: [podMessage(WEB)] });
    expect(link.settle(pods)[0]!.addresses).toHaveLength(1);
  });

  test("says once that there is no runtime, and finds it when it comes", async () => {
    expect([runtimeCondition(null), runtimeCondition(link.report)]).toEqual([[], []]);
    link.start();
    await expect.poll(() => log.filter((line) => line === "down").length, SOON).toBeGreaterThan(2);
    expect(log.filter((line) => line.startsWith("nri-away"))).toHaveLength(1);
    expect(link.report).toMatchObject({ connected: false, trouble: expect.stringMatching(/no such socket/) });
    expect(runtimeCondition(link.report)).toMatchObject([{ type: "RuntimeConnected", status: "False" }]);
    await listen();
    expect(runtimeCondition(link.report)).toMatchObject([{ status: "True", message: "containerd v2.4.2" }]);
  });

  test("forgets all when the runtime goes, lets go who waits, and comes back", async () => {
    link.start();
    const before = await listen({ pods: [podMessage(WEB)] });
    compiling = false;
    const waiting = before.ask("RunPodSandbox", podRequest({ ...WEB, id: "s2", uid: "u2", ips: ["10.244.0.8"] }));
    void waiting.catch(() => undefined);
    await expect.poll(() => link.report.sandboxes, SOON).toBe(2);
    await before.close();
    await expect.poll(() => link.report.connected, SOON).toBe(false);
    expect(link.report).toMatchObject({ sandboxes: 0, starts: { notWaited: 1, late: 0 } });
    expect(link.settle(pods)[0]!.addresses).toEqual([]);
    await listen({ pods: [podMessage(WEB)] });
    expect(link.report).toMatchObject({ connections: 2, sandboxes: 1 });
  });

  test("comes back to a runtime that sent nonsense", async () => {
    link.start();
    const runtime = await listen();
    runtime.raw(Buffer.alloc(64, 0xff));
    await expect.poll(() => link.report.connections, SOON).toBe(2);
    expect(runtime.registered).toHaveLength(2);
  });

  test("ends for good", async () => {
    link.start();
    const runtime = await listen();
    link.close();
    const { length } = log;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(runtime.registered).toHaveLength(1);
    expect(log).toHaveLength(length);
  });
});
