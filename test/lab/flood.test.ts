import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { sleep } from "../support/agent-lab.ts";
import { beside, expectAllKinds, failed } from "../support/beside.ts";
import { APP, EVIL, FaultLab, OTHER, PARTNER } from "../support/fault-lab.ts";

const FLOOD_SECONDS = 6;
const MOST_SENDERS = 5;
const DATAGRAMS = `udp:${EVIL.ipv4}:9000`;
const SYNS = `syn:${EVIL.ipv4}:443`;
/** First of the ports of APP that wait for answers, and for replies. */
const ANSWERED = 21_000;
const REPLIED = 22_000;
const QUESTIONS = `dns:${SERVICES.dns.ipv4}:53`;

let fault: FaultLab;

beforeAll(async () => {
  fault = await FaultLab.up("fld");
});

afterEach(() => fault?.clear());

afterAll(() => fault?.down());

/**
 * Packets from `place`, with an address of it as their source, as fast as one thread gets them out; with one thread more after each interval in
 * which they were not `enough`: beside other work one sender may be slower than the lane, which then has nobody to police.
 */
async function packets(place: string, source: string, what: readonly string[], enough: () => Promise<boolean>) {
  const send = () => fault.world.script(place, "packet-flood.ts", "120", source, ...what);
  const senders = [send()];
  try {
    for (;;) {
      await sleep(FLOOD_SECONDS * 1000);
      if ((await enough()) || senders.length === MOST_SENDERS) return;
      senders.push(send());
    }
  } finally {
    for (const sender of senders) sender.kill("SIGKILL");
  }
}

const flooded = (pod: string, enough: () => Promise<boolean>, ...what: string[]) =>
  beside(fault, () => packets(pod, fault.world.lab.pod(pod).address.ipv4, what, enough));

/** So many packets were dropped for the flood that it must have been policed. */
const policed = (metric: string, labels: Readonly<Record<string, string>>) => async () =>
  (await fault.metrics()).of(metric, labels) > POLICED;
const POLICED = 1_000;
const appPoliced = policed("flood_dropped_packets_total", { workload: APP });
const always = () => Promise.resolve(true);

/** APP asks a resolver, and says something where it may, from 64 ports each, and keeps them. */
async function listening(resolver: string) {
  const code = `
const { createSocket } = require("node:dgram");
const question = Buffer.from("000101000001000000000000036170690667697468756203636f6d0000010001", "hex");
for (let i = 0; i < 64; i++) {
  createSocket("udp4").on("message", () => undefined).bind(${ANSWERED} + i, function () { this.send(question, 53, "${resolver}"); });
  createSocket("udp4").on("message", () => undefined).bind(${REPLIED} + i, function () { this.send("hello", 9000, "${PARTNER}"); });
}
setTimeout(() => console.log("listening"), 500);
setTimeout(() => process.exit(0), 60_000);`;
  const child = fault.world.lab.spawn(APP, [process.execPath, "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout!, "data");
  return child;
}

describe("a pod that floods", () => {
  test("takes nothing from its neighbour; what is dropped is its own, counted and named", async () => {
    const { world } = fault;
    const agent = await fault.start();
    await world.lab.forgetOutside();
    const { attempts, after } = await flooded(APP, appPoliced, DATAGRAMS, SYNS, QUESTIONS);
    expect(after.of("queue_dropped_packets_total", { queue: "strict" })).toBe(0);
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    expect(after.of("flood_dropped_packets_total", { workload: APP })).toBeGreaterThan(POLICED);
    expect(after.of("flood_dropped_packets_total")).toBe(after.of("flood_dropped_packets_total", { workload: APP }));
    expect(after.of("policed_workloads_total")).toBeGreaterThan(0);
    expect(await agent.event("flood-policed")).toMatchObject({ workload: APP });
    expect(await agent.event("flood-dropped", 15_000)).toMatchObject({ workload: APP });
    const { packets, payload } = await world.leaked(EVIL.ipv4, EVIL.ipv6);
    expect(packets + payload).toBe(0);
  });

  test("is held to a rate, not shut out", async () => {
    await fault.start();
    const { after } = await flooded(APP, policed("rules_packets_total", { counter: "policed" }), DATAGRAMS);
    expect(after.of("rules_packets_total", { counter: "policed" })).toBeGreaterThan(POLICED);
    expect(await fault.byAddress(APP)).toBe("200");
  });
});

describe("a flood of addresses that no workload owns", () => {
  const unknownPoliced = policed("rules_packets_total", { counter: "policed_unknown" });

  test("is bounded as a whole and takes nothing from those that are known", async () => {
    const { world } = fault;
    await fault.start();
    await world.lab.addPod({ namespace: "app-ns", name: "nobody" }, { listed: false });
    const flood = flooded("app-ns/nobody", unknownPoliced, DATAGRAMS, SYNS);
    const { attempts, before, after } = await flood.finally(() => world.lab.removePod("app-ns/nobody"));
    expect(failed(attempts)).toEqual([]);
    expect(after.of("rules_packets_total", { counter: "policed_unknown" })).toBeGreaterThan(POLICED);
    expect(after.of("flood_dropped_packets_total") - before.of("flood_dropped_packets_total")).toBe(0);
  });
});

describe("a flood of answers to a pod that has asked", () => {
  const RESOLVER = OUTSIDE.dnsGoogle.ipv4;

  test("from outside: the pod is held to a rate, its neighbours lose nothing", async () => {
    const { world } = fault;
    const resolvers = [SERVICES.dns.ipv4, world.lab.pod("kube-system/dns").address.ipv4, RESOLVER];
    await fault.start({ config: { resolvers } });
    const child = await listening(RESOLVER);
    const node = world.lab.node(1).address.ipv4;
    const { attempts, before, after } = await beside(fault, () =>
      packets("outside", RESOLVER, [`answer:${node}:${ANSWERED}`], always),
    );
    child.kill("SIGKILL");
    expect(after.of("queue_dropped_packets_total", { queue: "strict" })).toBe(0);
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    // A node that is fast enough answers all of it, and polices nobody; else the pod that is answered.
    const policed = after.of("flood_dropped_packets_total", { workload: APP });
    expect(after.of("packets_total") - before.of("packets_total") + policed).toBeGreaterThan(10_000);
    expect(after.of("flood_dropped_packets_total")).toBe(policed);
  });

  test("from a pod of the node: the same, and the one that is policed is the one that is answered", async () => {
    const { world } = fault;
    await fault.start();
    const child = await listening(SERVICES.dns.ipv4);
    const dns = world.lab.pod("kube-system/dns").address.ipv4;
    const app = world.lab.pod(APP).address.ipv4;
    const answers = [`answer:${app}:${ANSWERED}`];
    const { attempts, after } = await beside(fault, () => packets("kube-system/dns", dns, answers, appPoliced));
    child.kill("SIGKILL");
    expect(after.of("queue_dropped_packets_total", { queue: "strict" })).toBe(0);
    expect(failed(attempts)).toEqual([]);
    expect(after.of("flood_dropped_packets_total", { workload: APP })).toBeGreaterThan(POLICED);
    expect(after.of("flood_dropped_packets_total")).toBe(after.of("flood_dropped_packets_total", { workload: APP }));
  });

  test("from a pod that nobody asks: it is policed itself", async () => {
    const { world } = fault;
    await fault.start();
    const other = world.lab.pod(OTHER).address.ipv4;
    const { attempts, after } = await flooded(APP, appPoliced, `answer:${other}:${ANSWERED}`);
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    expect(after.of("flood_dropped_packets_total", { workload: APP })).toBeGreaterThan(POLICED);
    expect(after.of("flood_dropped_packets_total")).toBe(after.of("flood_dropped_packets_total", { workload: APP }));
  });

  test("on flows that are allowed: carried by the kernel, nobody is asked, nobody loses anything", async () => {
    const { world } = fault;
    await fault.start();
    const child = await listening(SERVICES.dns.ipv4);
    const node = world.lab.node(1).address.ipv4;
    const { attempts, before, after } = await beside(fault, () =>
      packets("outside", PARTNER, [`reply:${node}:${REPLIED}`], always),
    );
    child.kill("SIGKILL");
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    // What is asked about is the neighbour's: some packets for each of its attempts.
    const asked = after.of("packets_total") - before.of("packets_total");
    expect(asked).toBeLessThan(attempts.length * 20);
    expect(after.of("flood_dropped_packets_total")).toBe(0);
  });
});

describe("a pod that opens flows which its address allows as fast as it can", () => {
  /** The echo server outside forks for each datagram; it is not what is tried here. */
  const SILENT = { first: 9_001, count: 90 };

  test("costs its neighbour no flow, and of the records no more than are counted", async () => {
    const { world } = fault;
    const last = SILENT.first + SILENT.count - 1;
    const silence = `add table ip silence; add chain ip silence raw { type filter hook prerouting priority -300; }; add rule ip silence raw udp dport ${SILENT.first}-${last} drop`;
    await run(inNetworkOnly(world.lab.netns("outside"), ["nft", silence]), { timeoutMs: 5_000 });
    await fault.start();
    const begun = new Date().toISOString();
    const words = [
      String(FLOOD_SECONDS),
      world.lab.pod(APP).address.ipv4,
      PARTNER,
      ...Object.values(SILENT).map(String),
    ];
    const flood = () => once(world.script(APP, "flow-flood.ts", ...words), "exit");
    const { attempts, after } = await beside(fault, flood);
    expect(failed(attempts)).toEqual([]);
    expectAllKinds(attempts);
    const opened = after.of("carried_flows_total", { stage: "opened" });
    const settled = await world.until("a log that is written", writtenLog, 30_000);
    const lost = settled.of("records_lost_total");
    const mine = [`${world.flows}.1`, world.flows]
      .flatMap((path) => world.records(path))
      .filter(({ event, workload, time }) => event === "decision" && workload?.name === "other" && time >= begun);
    const kept = mine.filter(({ destination }) => [8443, 9000].includes(destination?.port ?? 0)).length;
    const made = attempts.filter(({ kind }) => kind === "udp" || kind === "tcp").length;
    expect(made - kept).toBeLessThanOrEqual(lost);
    expect(opened).toBeGreaterThan(1_000);
    expect(lost).toBeLessThan(opened / 4);
  });

  async function writtenLog() {
    const [first, second] = [await fault.metrics(), await sleep(1_000).then(() => fault.metrics())];
    const still = first.of("records_written_total") === second.of("records_written_total");
    return still && second.of("records_pending_bytes") === 0 ? second : null;
  }
});
