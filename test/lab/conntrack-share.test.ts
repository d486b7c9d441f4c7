import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { sleep } from "../support/agent-lab.ts";
import { APP, FaultLab, OTHER } from "../support/fault-lab.ts";

const FIRST = 10_001;
const PORTS = 90;

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("cts");
});

afterAll(() => fault?.down());

const at = (target: string, ...argv: string[]) =>
  run(inNetworkOnly(fault.world.lab.netns(target), argv), { timeoutMs: 60_000 });

test("a pod that opens all flows that it may leaves room in conntrack; its neighbours, and its own open flows, go on", async () => {
  const { world } = fault;
  const agent = await fault.start();
  const slow = fault.download();
  const source = world.lab.pod(APP).address.ipv4;
  // Inside traffic, which nobody is asked about.
  const words = ["40", source, world.lab.pod("inside-ns/web").address.ipv4, String(FIRST), String(PORTS)];
  const flood = world.script(APP, "flow-flood.ts", ...words);
  const over = once(flood, "exit");
  expect(await agent.event("conntrack-crowded", 38_000)).toMatchObject({ workload: APP, address: source });
  const answers: string[] = [];
  const fill: number[] = [];
  for (let i = 0; i < 10; i++) {
    answers.push(await fault.byAddress(OTHER), await fault.byName(OTHER));
    const now = await fault.metrics();
    fill.push(now.of("conntrack_entries") / now.of("conntrack_limit"));
    await sleep(300);
  }
  expect(answers).toEqual(Array(20).fill("200"));
  expect(Math.max(...fill)).toBeLessThan(1);
  expect(slow.runs()).toBe(true);
  const held = await fault.metrics();
  expect(held.of("conntrack_dropped_packets_total")).toBe(0);
  expect(held.of("rules_packets_total", { counter: "crowding" })).toBeGreaterThan(1_000);
  expect(held.of("crowding_workloads_total")).toBe(1);
  expect(held.of("flood_dropped_packets_total", { workload: APP })).toBeGreaterThan(1_000);
  expect(held.of("flood_dropped_packets_total")).toBe(held.of("flood_dropped_packets_total", { workload: APP }));
  // Held itself, for as long as it has too much; then it is free again.
  expect(await fault.byAddress(APP, "1")).toBe("curl 28");
  flood.kill("SIGKILL");
  await over;
  await at("node1", "sh", "-c", `conntrack -D -p udp -s ${source} >/dev/null 2>&1`);
  await world.until("new flows", async () => (await fault.byAddress(APP, "2")) === "200", 40_000);
  expect(slow.runs()).toBe(true);
  slow.stop();
});

test("sources that no workload owns have one share together: pods that are known lose nothing, inside neither", async () => {
  const { world } = fault;
  await fault.clear();
  const agent = await fault.start();
  const inside = world.lab.pod("inside-ns/web").address.ipv4;
  await world.lab.addPod({ namespace: "app-ns", name: "nobody" }, { listed: false });
  const source = world.lab.pod("app-ns/nobody").address.ipv4;
  const flood = world.script("app-ns/nobody", "flow-flood.ts", "40", source, inside, String(FIRST), String(PORTS));
  const over = once(flood, "exit");
  try {
    expect(await agent.event("conntrack-crowded", 38_000)).toMatchObject({ workload: "(unknown)" });
    const answers: string[] = [];
    const fill: number[] = [];
    for (let i = 0; i < 6; i++) {
      answers.push(await fault.byAddress(OTHER), await fault.byName(APP), await world.get(APP, `http://${inside}/`));
      const now = await fault.metrics();
      fill.push(now.of("conntrack_entries") / now.of("conntrack_limit"));
      await sleep(300);
    }
    expect(answers).toEqual(Array(18).fill("200"));
    expect(Math.max(...fill)).toBeLessThan(1);
    const held = await fault.metrics();
    expect(held.of("conntrack_dropped_packets_total")).toBe(0);
    expect(held.of("rules_packets_total", { counter: "crowding_unknown" })).toBeGreaterThan(1_000);
    expect(held.of("rules_packets_total", { counter: "crowding" })).toBe(0);
    expect(await world.get("app-ns/nobody", `http://${inside}/`, "-m", "1")).toBe("curl 28");
    flood.kill("SIGKILL");
    await over;
    await at("node1", "sh", "-c", `conntrack -D -p udp -s ${source} >/dev/null 2>&1`);
    const free = async () => (await world.get("app-ns/nobody", `http://${inside}/`, "-m", "2")) === "200";
    await world.until("new flows", free, 40_000);
  } finally {
    flood.kill("SIGKILL");
    await world.lab.removePod("app-ns/nobody");
  }
});
