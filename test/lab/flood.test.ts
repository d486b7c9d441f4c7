import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { sleep } from "../support/agent-lab.ts";
import { APP, EVIL, FaultLab, OTHER, PARTNER } from "../support/fault-lab.ts";
import type { Attempt } from "../support/steady-load.ts";

const FLOOD_SECONDS = 6;
const DATAGRAMS = `udp:${EVIL.ipv4}:9000`;
const SYNS = `syn:${EVIL.ipv4}:443`;
const QUESTIONS = `dns:${SERVICES.dns.ipv4}:53`;

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("fld");
});

afterEach(async () => {
  await fault?.world.agent?.stop(2_000).catch(() => undefined);
});

afterAll(() => fault?.down());

/** New connections by name and by address, questions and datagrams, sixty a second; a question is sent once. */
async function twin(pod: string) {
  const { lab } = fault.world;
  const file = join(lab.directory, `twin-${Date.now()}.json`);
  const api = OUTSIDE.githubApi.ipv4;
  const words = ["60", file, SERVICES.dns.ipv4, "api.github.com", api, "raw.github.com", PARTNER, "8443", "9000"];
  const child = fault.world.script(pod, "steady-load.ts", ...words);
  await once(child.stdout!, "data");
  return {
    async end(): Promise<Attempt[]> {
      const over = once(child, "exit");
      child.kill("SIGTERM");
      await over;
      return JSON.parse(readFileSync(file, "utf8")) as Attempt[];
    },
  };
}

/** Floods from `pod` while OTHER works; how OTHER fared, and the metrics before and after. */
async function flooded(pod: string, ...what: string[]) {
  const { world } = fault;
  const before = await fault.metrics();
  const honest = await twin(OTHER);
  await sleep(500);
  const source = world.lab.pod(pod).address.ipv4;
  const flood = world.script(pod, "packet-flood.ts", String(FLOOD_SECONDS), source, ...what);
  await once(flood, "exit");
  const attempts = await honest.end();
  return { attempts, before, after: await fault.metrics() };
}

function failed(attempts: readonly Attempt[]): string[] {
  return attempts.flatMap(({ kind, problem }) => (problem === "" ? [] : [`${kind}: ${problem}`]));
}

// As in faults-kernel: on a machine that is busy with other things the lane may not get its share. Without the policing all of them
// fail in every round.
describe("a pod that floods", { retry: 2 }, () => {
  test("takes nothing from its neighbour; what is dropped is its own, counted and named", async () => {
    const { world } = fault;
    const agent = await fault.start();
    await world.lab.forgetOutside();
    const { attempts, after } = await flooded(APP, DATAGRAMS, SYNS, QUESTIONS);
    expect(after.of("queue_dropped_packets_total", { queue: "strict" })).toBe(0);
    expect(failed(attempts)).toEqual([]);
    for (const kind of ["tls", "tcp", "dns", "udp"] as const) {
      expect(attempts.filter((one) => one.kind === kind).length).toBeGreaterThan(60);
    }
    expect(after.of("flood_dropped_packets_total", { workload: APP })).toBeGreaterThan(1_000);
    expect(after.of("flood_dropped_packets_total")).toBe(after.of("flood_dropped_packets_total", { workload: APP }));
    expect(after.of("policed_workloads_total")).toBeGreaterThan(0);
    expect(await agent.event("flood-policed")).toMatchObject({ workload: APP });
    expect(await agent.event("flood-dropped", 15_000)).toMatchObject({ workload: APP });
    const { packets, payload } = await world.leaked(EVIL.ipv4, EVIL.ipv6);
    expect(packets + payload).toBe(0);
  });

  test("is held to a rate, not shut out", async () => {
    await fault.start();
    const { after } = await flooded(APP, DATAGRAMS);
    expect(after.of("rules_packets_total", { counter: "policed" })).toBeGreaterThan(1_000);
    expect(await fault.byAddress(APP)).toBe("200");
  });
});

describe("a flood of addresses that no workload owns", { retry: 2 }, () => {
  test("is bounded as a whole and takes nothing from those that are known", async () => {
    const { world } = fault;
    await fault.start();
    await world.lab.addPod({ namespace: "app-ns", name: "nobody" }, { listed: false });
    const flood = flooded("app-ns/nobody", DATAGRAMS, SYNS);
    const { attempts, before, after } = await flood.finally(() => world.lab.removePod("app-ns/nobody"));
    expect(failed(attempts)).toEqual([]);
    expect(after.of("rules_packets_total", { counter: "policed_unknown" })).toBeGreaterThan(1_000);
    expect(after.of("flood_dropped_packets_total") - before.of("flood_dropped_packets_total")).toBe(0);
  });
});
