import { beforeEach, expect, test } from "vitest";
import type { Settled } from "../../../src/agent/nri/sandboxes.ts";
import { StartGate } from "../../../src/agent/nri/start-gate.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { parseAddress } from "../../../src/net/address.ts";

const addresses = (...ips: string[]) => ips.map((ip) => parseAddress(ip)!);
const workload = (uid: string, ...ips: string[]) => ({ uid, addresses: addresses(...ips) }) as unknown as Workload;

let settled: Map<string, Settled>;
let gate: StartGate;

beforeEach(() => {
  settled = new Map();
  gate = new StartGate((uid) => settled.get(uid) ?? null);
});

/** Whether it is over by now, and how. */
async function now(hold: Promise<boolean>): Promise<boolean | "waits"> {
  return Promise.race([hold, new Promise<"waits">((resolve) => setImmediate(() => resolve("waits")))]);
}

test("a pod waits until all of its addresses are in force", async () => {
  const hold = gate.hold("p");
  gate.inForce([workload("p", "10.1.0.1")]);
  // It had that address before; what the runtime told is not settled yet.
  expect(await now(hold)).toBe("waits");
  settled.set("p", { byAddress: true, addresses: addresses("10.1.0.2", "fd00::2") });
  gate.inForce([workload("p", "10.1.0.2")]);
  expect(await now(hold)).toBe("waits");
  gate.inForce([workload("q", "10.1.0.2", "fd00::2")]);
  expect(await now(hold)).toBe("waits");
  gate.inForce([workload("q"), workload("p", "fd00::2", "10.1.0.2")]);
  expect(await hold).toBe(true);
  expect(gate.counts).toMatchObject({ inForce: 1, late: 0, notWaited: 0 });
  // The next sandbox of the same pod has nothing to wait for if it is in force already.
  expect(await gate.hold("p")).toBe(true);
});

test("a pod whose address another one claims waits to the end", async () => {
  gate.allow(200);
  settled.set("p", { byAddress: true, addresses: [] });
  const hold = gate.hold("p");
  gate.inForce([workload("p")]);
  expect(await hold).toBe(false);
  expect(gate.counts).toMatchObject({ inForce: 0, late: 1 });
});

test("nobody waits for a pod that is not told by its address", async () => {
  const hold = gate.hold("p");
  settled.set("p", { byAddress: false, addresses: [] });
  gate.inForce([]);
  expect(await hold).toBe(true);
  expect(gate.counts).toMatchObject({ inForce: 0, late: 0, notWaited: 1 });
});

test("the bound is half of what the runtime allows, and a second at most", () => {
  expect(gate.limit).toBe(1_000);
  gate.allow(600);
  expect(gate.limit).toBe(300);
  gate.allow(60_000);
  expect(gate.limit).toBe(1_000);
  gate.allow(0);
  expect(gate.limit).toBe(1_000);
});

test("pods that are late make the next ones wait shorter, then not at all, until one is in force", async () => {
  gate.allow(240);
  expect(await gate.hold("a")).toBe(false);
  expect(gate.limit).toBe(60);
  expect(await gate.hold("b")).toBe(false);
  expect(gate.limit).toBe(0);
  expect(await now(gate.hold("c"))).toBe(false);
  expect(gate.counts).toMatchObject({ inForce: 0, late: 2, notWaited: 1 });
  settled.set("c", { byAddress: true, addresses: addresses("10.1.0.3") });
  gate.inForce([workload("other", "10.1.0.3")]);
  expect(gate.limit).toBe(0);
  gate.inForce([workload("c", "10.1.0.3")]);
  expect(gate.limit).toBe(120);
});

test("one that comes in force later than anybody would wait is no reason to wait again", async () => {
  gate.allow(100);
  expect(await gate.hold("slow")).toBe(false);
  expect(await gate.hold("slow too")).toBe(false);
  expect(gate.limit).toBe(0);
  settled.set("slow", { byAddress: true, addresses: addresses("10.1.0.1") });
  await new Promise((resolve) => setTimeout(resolve, 60));
  gate.inForce([workload("slow", "10.1.0.1")]);
  expect(gate.limit).toBe(0);
  void gate.hold("quick");
  settled.set("quick", { byAddress: true, addresses: addresses("10.1.0.2") });
  gate.inForce([workload("slow", "10.1.0.1"), workload("quick", "10.1.0.2")]);
  expect(gate.limit).toBe(50);
});

test("when the runtime is gone nobody waits", async () => {
  const holds = [gate.hold("a"), gate.hold("b")];
  gate.open();
  expect(await Promise.all(holds)).toEqual([true, true]);
  expect(gate.limit).toBe(1_000);
});
