import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CLUSTER_RANGES } from "../../src/lab/addresses.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { sleep } from "../support/agent-lab.ts";
import { APP, EVIL, FaultLab, OTHER, PARTNER } from "../support/fault-lab.ts";

let fault: FaultLab;
let broken: string;

beforeAll(async () => {
  fault = await FaultLab.up("fkn");
  broken = join(fault.world.lab.directory, "nft-is-broken");
});

afterEach(async () => {
  rmSync(broken, { force: true });
  await fault?.clear();
});

afterAll(() => fault?.down());

/** A folder with an `nft` that refuses every transaction while the file `nft-is-broken` is there. */
function refusingNft(): string {
  const folder = join(fault.world.lab.directory, "bin");
  mkdirSync(folder, { recursive: true });
  const real = spawnSync("sh", ["-c", "command -v nft"], { encoding: "utf8" }).stdout.trim();
  writeFileSync(
    join(folder, "nft"),
    `#!/bin/sh\nif [ -e ${broken} ] && [ "$1" = -f ]; then cat >/dev/null; echo "Error: no buffer space available" >&2; exit 1; fi\nexec ${real} "$@"\n`,
  );
  chmodSync(join(folder, "nft"), 0o755);
  return `${folder}:${process.env.PATH}`;
}

const node = (argv: readonly string[], timeoutMs = 20_000) =>
  run(inNetworkOnly(fault.world.lab.node(1).netns, argv), { timeoutMs });

describe("nft refuses a transaction", () => {
  test("the change is enforced by the lane, what was enforced stays, and it is made good", async () => {
    const { world } = fault;
    const agent = await fault.start({ environment: { PATH: refusingNft() } });
    await world.lab.forgetOutside();
    const slow = fault.download();
    await sleep(500);
    writeFileSync(broken, "");
    // A range more that is inside changes a set that only nft can change, and nft refuses; so also what comes after it, a pod that is listed anew.
    await world.lab.configYaml(1, { clusterCIDRs: [...CLUSTER_RANGES, "198.51.100.0/24"] });
    await agent.event("apply-failed");
    await world.lab.addPod({ namespace: "app-ns", name: "late" });
    expect((await fault.metrics()).of("apply_failures_total")).toBeGreaterThan(0);
    expect(await fault.isReady()).toBe(false);
    // Those that were there, and the one whose change failed: none is open, none is cut off.
    expect(await fault.closed()).toBe(true);
    expect(await fault.closed("app-ns/late")).toBe(true);
    expect(await fault.byAddress()).toBe("200");
    expect(slow.runs()).toBe(true);
    rmSync(broken);
    await fault.ready();
    expect(await fault.byAddress("app-ns/late")).toBe("200");
    slow.stop();
    await world.lab.removePod("app-ns/late");
  });

  test("with the table flushed and nft refusing, it says so; put back as soon as nft lets it", async () => {
    const { world } = fault;
    const agent = await fault.start({ environment: { PATH: refusingNft() } });
    writeFileSync(broken, "");
    await node(["nft", "flush", "table", "inet", "sallyport"]);
    await agent.event("ruleset-broken");
    expect(await fault.isReady()).toBe(false);
    expect((await fault.metrics()).of("problems_total", { event: "ruleset-broken" })).toBeGreaterThan(0);
    rmSync(broken);
    await fault.ready();
    await world.lab.forgetOutside();
    expect(await fault.closed()).toBe(true);
    expect((await fault.metrics()).of("ruleset_restored_total")).toBe(1);
  });

  test("an agent that cannot install its rules does not start, and leaves the former ones", async () => {
    const { world } = fault;
    await fault.start();
    await world.agent?.stop();
    await world.lab.forgetOutside();
    const environment = { PATH: refusingNft() };
    writeFileSync(broken, "");
    await expect(fault.start({ environment, supervised: false })).rejects.toThrow(/no buffer space/);
    expect(await fault.closed()).toBe(true);
    rmSync(broken);
    await fault.start({ environment });
    expect(await fault.byAddress()).toBe("200");
  });
});

describe("another program flushes the rules", () => {
  test("the table, all tables, and the chain that queues: back within a second, flows live on", async () => {
    await fault.start();
    const slow = fault.download();
    await sleep(500);
    for (const command of [
      ["nft", "flush", "table", "inet", "sallyport"],
      ["nft", "delete", "table", "inet", "sallyport"],
      ["iptables-nft", "-t", "mangle", "-F"],
    ]) {
      const before = (await fault.metrics()).of("ruleset_restored_total");
      expect(await node(command)).toMatchObject({ status: 0 });
      await fault.world.until(
        "rules that are back",
        async () => (await fault.metrics()).of("ruleset_restored_total") > before,
        3_000,
      );
      await fault.ready();
      await fault.world.lab.forgetOutside();
      expect(await fault.closed()).toBe(true);
      expect(await fault.byAddress()).toBe("200");
    }
    expect(slow.runs()).toBe(true);
    slow.stop();
  });
});

describe("the table of flows is full", () => {
  test("nothing new gets through, what is open lives on, it is counted, and it ends when there is room", async () => {
    const { world } = fault;
    await fault.start();
    const slow = fault.download();
    await sleep(500);
    const script = join(import.meta.dirname, "../support/fill-conntrack.ts");
    const filled = await node([process.execPath, script], 60_000);
    expect(filled.stderr).toBe("");
    const { entries, limit } = JSON.parse(filled.stdout) as { entries: number; limit: number };
    expect(entries).toBeGreaterThanOrEqual(limit);
    await world.lab.forgetOutside();
    expect(await fault.byAddress(APP, "2")).toBe("curl 28");
    expect(await fault.closed()).toBe(true);
    const during = await fault.metrics();
    // A few end by themselves meanwhile; what was dropped says that it was full.
    expect(during.of("conntrack_entries")).toBeGreaterThan(during.of("conntrack_limit") * 0.99);
    expect(during.of("conntrack_dropped_packets_total")).toBeGreaterThan(0);
    expect(slow.runs()).toBe(true);
    await node(["sh", "-c", "conntrack -D -p udp -d 198.19.0.1 >/dev/null 2>&1"], 60_000);
    expect(await fault.byAddress(APP, "5")).toBe("200");
    expect(slow.runs()).toBe(true);
    slow.stop();
  });
});

describe("a queue overflows", () => {
  // Two floods as fast as they go: on a machine that is busy with other things the lane may not get its share.
  test("what is dropped is counted and nothing opens; who does not flood gets through", { retry: 2 }, async () => {
    const { world } = fault;
    await fault.start();
    await world.lab.forgetOutside();
    const before = await fault.metrics();
    const scripts = join(import.meta.dirname, "../support/udp-flood.ts");
    const argv = [process.execPath, scripts, "6", EVIL.ipv4, PARTNER];
    const floods = [1, 2].map(() => world.lab.spawn(APP, argv, { stdio: ["ignore", "pipe", "inherit"] }));
    const over = floods.map((flood) => once(flood, "exit"));
    await sleep(1_000);
    const answers: string[] = [];
    for (let i = 0; i < 5; i++) answers.push(await fault.byAddress(OTHER, "6"));
    expect(answers).toEqual(Array(5).fill("200"));
    await Promise.all(over);
    const after = await fault.metrics();
    const { packets, payload } = await world.leaked(EVIL.ipv4, EVIL.ipv6);
    expect(packets + payload).toBe(0);
    expect(after.of("packets_total") - before.of("packets_total")).toBeGreaterThan(1_000);
    expect(await fault.isReady()).toBe(true);
    // It may have had more than its share of conntrack: once that is over it is as free as before.
    const source = world.lab.pod(APP).address.ipv4;
    await node(["sh", "-c", `conntrack -D -p udp -s ${source} >/dev/null 2>&1`], 60_000);
    await world.until("new flows", async () => (await fault.byAddress(APP, "2")) === "200", 40_000);
  });

  test("a lane that stands still lets it run full: dropped, counted, closed", async () => {
    const { world } = fault;
    const agent = await fault.start({ supervised: false });
    await world.lab.forgetOutside();
    const argv = [process.execPath, join(import.meta.dirname, "../support/udp-flood.ts"), "3", EVIL.ipv4];
    // First the stop: a lane that sees the flood begin has it policed, and the queue stays short.
    agent.signal("SIGSTOP");
    const flood = world.lab.spawn(APP, argv, { stdio: "ignore" });
    const over = once(flood, "exit");
    const text = await world.until("a full queue", () => {
      const queues = queueTable();
      return Number(queues?.[5] ?? 0) > 0 ? queues : null;
    });
    expect(Number(text[2])).toBeGreaterThanOrEqual(8_192);
    agent.signal("SIGCONT");
    const after = await world.until("dropped packets in the metrics", async () => {
      const now = await fault.metrics().catch(() => null);
      return now !== null && now.of("queue_dropped_packets_total", { queue: "strict" }) > 0 ? now : null;
    });
    expect(after.of("queue_dropped_packets_total")).toBeGreaterThan(0);
    await over;
    const { packets, payload } = await world.leaked(EVIL.ipv4, EVIL.ipv6);
    expect(packets + payload).toBe(0);
    expect(await fault.byAddress(OTHER)).toBe("200");
  });
});

/** Columns of the strict queue in the kernel's table, as the node's namespace has it. */
function queueTable(): string[] | null {
  const pid = fault.world.agent?.child.pid ?? 0;
  const path = `/proc/${pid}/net/netfilter/nfnetlink_queue`;
  if (!existsSync(path)) return null;
  const lines = readFileSync(path, "latin1")
    .split("\n")
    .map((line) => line.trim().split(/ +/));
  return lines.find(([number]) => number === "5100") ?? null;
}
