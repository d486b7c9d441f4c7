/**
 * What a queued packet costs in the packet lane, and what it would cost in C at least: the same load, once decided by the
 * agent, once waved through by bench/load/queue.c behind the agent's own ruleset. Compared by processor time, so that a
 * neighbour on the machine does not count.
 */
import { readFile } from "node:fs/promises";
import { LOADS, type Load, runLoad } from "./loads.ts";
import { QUEUE, QueueLoop } from "./queue-loop.ts";
import { agentPid, crash, pause, type Stage, threadTimes } from "./stage.ts";
import { type Summary, summarize } from "./statistics.ts";

/** Packets a second of processor time. */
export interface LaneCost {
  readonly load: string;
  readonly lane: Summary;
  readonly c: Summary;
}

/** Not UDP flows by address: of those the lane is told, not asked (docs/adr/0014-carried-flows.md). */
const KINDS = ["http"];

export async function measureLaneCost(stage: Stage, rounds: number, seconds: number): Promise<LaneCost[]> {
  const loads = LOADS.filter(({ id }) => KINDS.includes(id));
  const lane = new Map<string, number[]>();
  const c = new Map<string, number[]>();
  const add = (map: Map<string, number[]>, load: Load, value: number) =>
    map.set(load.id, [...(map.get(load.id) ?? []), value]);
  for (let round = 0; round < rounds; round++) {
    for (const load of loads) add(lane, load, await laneRate(stage, load, seconds));
    await crash(stage.agent);
    for (const load of loads) add(c, load, await bareRate(stage, load, seconds));
    await stage.startAgent();
  }
  return loads.map(({ id }) => ({
    load: id,
    lane: summarize(lane.get(id) ?? []),
    c: summarize(c.get(id) ?? []),
  }));
}

async function laneRate(stage: Stage, load: Load, seconds: number): Promise<number> {
  const pid = await agentPid(stage.agent);
  // The first run of a load is also the compiler's.
  await runLoad(stage, load, "sallyport", 0.5);
  await pause(300);
  const [before, packetsBefore] = await Promise.all([threadTimes(pid), packetsOf(pid)]);
  await runLoad(stage, load, "sallyport", seconds);
  const [after, packetsAfter] = await Promise.all([threadTimes(pid), packetsOf(pid)]);
  const thread = await laneThread(pid, before, after);
  return ((packetsAfter - packetsBefore) * 1e9) / thread;
}

/** Processor time of the lane's thread: the one that is named so, else (older Node) the busiest. */
async function laneThread(
  pid: number,
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
): Promise<number> {
  let most = 0;
  for (const [thread, time] of after) {
    const used = time - (before.get(thread) ?? 0);
    const name = await readFile(`/proc/${pid}/task/${thread}/comm`, "utf8").catch(() => "");
    if (name.startsWith("packet-lane")) return used;
    most = Math.max(most, used);
  }
  return most;
}

/** Ids of queued packets count up: the last column but one of the queue's line. */
async function packetsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/net/netfilter/nfnetlink_queue`, "utf8");
  const rows = text
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  return rows
    .filter(([number]) => number === QUEUE || number === QUEUE + 1)
    .reduce((sum, row) => sum + (row[7] ?? 0), 0);
}

async function bareRate(stage: Stage, load: Load, seconds: number): Promise<number> {
  const loop = await QueueLoop.start(stage.gate, "http", "allow");
  try {
    await runLoad(stage, load, "sallyport", 0.5);
    const before = await loop.used();
    await runLoad(stage, load, "sallyport", seconds);
    const after = await loop.used();
    return ((after.packets - before.packets) * 1e9) / (after.nanoseconds - before.nanoseconds);
  } finally {
    await loop.stop();
  }
}
