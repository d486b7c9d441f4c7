/**
 * A cluster of 5,000 nodes on a real API server, and one agent and one controller in it, root only: `node bench/cluster/run.ts
 * [--nodes N] [--namespaces N] [--changes N] [--starts N] [--idle SECONDS] [--watchers N] [--out FILE]`. With N nodes the rest shrinks
 * with them, but not the policies. What is 0 of starts, seconds or watchers is not measured, and with `--no-controller` neither is that.
 * What an agent takes depends on policies and namespaces alone: `--nodes 50 --namespaces 10000 --no-controller --idle 0 --watchers 0`
 * takes three minutes. Prints a table and writes it to FILE.md, the figures to FILE.json (bench/results/cluster).
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { agentPid, pause, ROOT, SALLYPORT, until } from "../stage.ts";
import { percentile, summarize } from "../statistics.ts";
import { CLUSTER_POLICIES, type ClusterSize, clusterPolicy } from "./objects.ts";
import { type ClusterReport, renderClusterReport } from "./report.ts";
import { ClusterStage, processorSeconds, resident } from "./stage.ts";

const { values } = parseArgs({
  allowNegative: true,
  options: {
    nodes: { type: "string", default: "5000" },
    namespaces: { type: "string" },
    controller: { type: "boolean", default: true },
    changes: { type: "string", default: "100" },
    starts: { type: "string", default: "3" },
    idle: { type: "string", default: "180" },
    watchers: { type: "string", default: "200" },
    out: { type: "string", default: join(ROOT, "bench/results/cluster") },
  },
});
const nodes = Number(values.nodes);
const size: ClusterSize = {
  nodes,
  pods: nodes * 30,
  namespaces: Number(values.namespaces ?? Math.max(500, nodes * 2)),
};
const CONTROLLER_MS = 15 * 60_000;
const SETTLE_MS = 10_000;
const QUIET_CHANGES = 40;

const say = (line: string) => process.stderr.write(`${line}\n`);

async function measure(stage: ClusterStage): Promise<ClusterReport> {
  const filled = await stage.fill(say);
  const apiServer = await stage.processOf("kube-apiserver");
  await pause(SETTLE_MS);
  const apiServerRest = await resident(apiServer);
  say(`the API server takes ${apiServerRest.toFixed(0)} MiB`);

  const controller = values.controller ? await measureController(stage) : null;
  const agent = await measureAgent(stage);
  const watching = Number(values.watchers) > 0 ? await measureWatching(stage, apiServer) : null;
  return {
    ...{ date: new Date().toISOString().slice(0, 10), size, filled, controller, agent, watching },
    machine: `${availableParallelism()} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    apiServer: { rest: apiServerRest, peak: await resident(apiServer, "VmHWM") },
  };
}

async function measureController(stage: ClusterStage): Promise<NonNullable<ClusterReport["controller"]>> {
  const began = performance.now();
  const child = stage.startController();
  const pid = child.pid ?? 0;
  await until(
    async () => (await stage.controllerMetric("sallyport_controller_synced")) === 1,
    "the controller",
    CONTROLLER_MS,
  );
  const synced = (performance.now() - began) / 1000;
  say(`the controller has read everything after ${synced.toFixed(1)} s`);
  const written = () => stage.controllerMetric("sallyport_controller_status_writes_total");
  let last = -1;
  for (let now = await written(); now !== last || !(now > 0); now = await written()) {
    last = now;
    if (performance.now() - began > CONTROLLER_MS) break;
    await pause(5_000);
  }
  const result = {
    ...{ synced, writes: last, settled: (performance.now() - began) / 1000 },
    ...{ rest: await resident(pid), peak: await resident(pid, "VmHWM"), processor: await processorSeconds(pid) },
  };
  say(`the controller has written ${last} statuses and takes ${result.rest.toFixed(0)} MiB`);
  return result;
}

async function measureAgent(stage: ClusterStage): Promise<ClusterReport["agent"]> {
  const { world } = stage.kube;
  const state = `${world.lab.directory}/state-node1`;
  const ready: number[] = [];
  for (let i = 0; i < Number(values.starts); i++) {
    await world.agent?.stop();
    rmSync(state, { recursive: true, force: true });
    const begun = Date.now();
    const started = await stage.kube.start([], [SALLYPORT]);
    ready.push(Date.parse(String((await started.event("ready")).time)) - begun);
    say(`start ${i + 1}: ready after ${ready.at(-1)} ms`);
  }
  const pid = await agentPid(world.agent);
  await pause(SETTLE_MS);
  const rest = await resident(pid);
  const supervisor = (await resident(world.agent?.child.pid ?? pid)) * (world.agent?.child.pid === pid ? 0 : 1);
  await stage.quietChanges(QUIET_CHANGES);
  const [afterChanges, peak] = [await resident(pid), await resident(pid, "VmHWM")];
  say(`the agent takes ${rest.toFixed(0)} MiB, after ${QUIET_CHANGES} changes ${afterChanges.toFixed(0)}`);
  await pause(1_000);
  const change = await stage.changes(Number(values.changes), say);
  const withFlows = await resident(pid);
  const idle = await measureIdle(stage, pid);
  const memory = {
    ...{ rest, afterChanges, peak, withFlows, peakWithFlows: await resident(pid, "VmHWM") },
    supervisor,
  };
  return {
    ...{ ready: summarize(ready), change: { ...summarize(change), p99: percentile(change, 0.99) }, memory },
    ...idle,
  };
}

/** What an agent asks and is told while nothing happens on its node, and while pods come and go on all others. */
async function measureIdle(
  stage: ClusterStage,
  pid: number,
): Promise<Pick<ClusterReport["agent"], "idle" | "foreign">> {
  const seconds = Number(values.idle);
  if (seconds === 0) return { idle: null, foreign: null };
  const requests = () => stage.agentMetric("sallyport_api_requests_total");
  await pause(SETTLE_MS);
  const [asked, got] = [await requests(), await stage.received(pid)];
  await pause(seconds * 1000);
  const idle = {
    seconds,
    requests: (await requests()) - asked,
    bytes: (await stage.received(pid)) - got,
  };
  say(`idle for ${seconds} s: ${idle.requests} requests, ${idle.bytes} bytes`);
  const driver = stage.start("driver.ts", stage.sizeWords);
  const before = await stage.received(pid);
  const pods = Math.min(2000, size.pods / 10);
  const { seconds: took } = await driver.ask<{ seconds: number }>(`pods ${pods}`);
  driver.child.stdin?.end();
  const foreign = { pods, seconds: took, bytes: (await stage.received(pid)) - before };
  say(`${pods} pods of other nodes made and deleted in ${took.toFixed(1)} s: ${foreign.bytes} bytes to the agent`);
  return { idle, foreign };
}

/** What more agents cost the API server. */
async function measureWatching(
  stage: ClusterStage,
  apiServer: number,
): Promise<NonNullable<ClusterReport["watching"]>> {
  const agents = Number(values.watchers);
  const driver = stage.start("driver.ts", stage.sizeWords);
  const without = await broadcast(driver, apiServer);
  const idleWithout = await idleShare(apiServer);
  const before = await resident(apiServer);
  const watchers = stage.start("watchers.ts", [1, agents]);
  if ((await watchers.line()) !== "open") throw new Error("the watches could not be opened");
  await pause(SETTLE_MS);
  const memory = (await resident(apiServer)) - before;
  const idle = Math.max(0, (await idleShare(apiServer)) - idleWithout);
  const withThem = await broadcast(driver, apiServer);
  watchers.child.stdin?.end();
  driver.child.stdin?.end();
  const perEvent = (withThem - without) / agents;
  say(`${agents} agents: ${memory.toFixed(0)} MiB, ${(perEvent * 1e6).toFixed(0)} µs for a change and an agent`);
  return { agents, memory, idle, perEvent };
}

const IDLE_SECONDS = 30;

/** Processor seconds a second of a process to which nothing happens. */
async function idleShare(pid: number): Promise<number> {
  const began = await processorSeconds(pid);
  await pause(IDLE_SECONDS * 1000);
  return ((await processorSeconds(pid)) - began) / IDLE_SECONDS;
}

const BROADCASTS = 40;

/** Processor seconds of the API server for one change of a policy that all watch. */
async function broadcast(driver: ReturnType<ClusterStage["start"]>, apiServer: number): Promise<number> {
  const began = await processorSeconds(apiServer);
  const { path, object } = clusterPolicy(CLUSTER_POLICIES[0]!, 0);
  for (let i = 0; i < BROADCASTS; i++) {
    const { spec } = clusterPolicy(object.metadata.name, 0, 26 + i).object;
    await driver.ask(`patch ${path}/${object.metadata.name} ${JSON.stringify({ spec })}`);
    await pause(250);
  }
  return ((await processorSeconds(apiServer)) - began) / BROADCASTS;
}

let stage: ClusterStage | null = null;
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    stopping.abort();
    void Promise.resolve(stage?.down()).finally(() => process.exit(130));
  });
}
try {
  stage = await ClusterStage.up(size);
  const report = await measure(stage);
  const text = renderClusterReport(report);
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(`${values.out}.json`, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(`${values.out}.md`, text);
  process.stdout.write(text);
} catch (error) {
  if (!stopping.signal.aborted) throw error;
} finally {
  if (!stopping.signal.aborted) await stage?.down();
}
