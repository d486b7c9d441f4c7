/**
 * Where the agent's time goes under one load: `node bench/profile.ts LOAD [SECONDS]`, LOAD one of those of bench/loads.ts.
 * Runs the agent under V8's sampling profiler and prints, for the packet lane and the main thread, the functions that
 * took the most time, in nanoseconds an exchange of the load (what happens once, at the start, is in there too).
 * `--threads`: no profiler, a first run to warm up, and only what each thread took.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { LOADS, runLoad } from "./loads.ts";
import { agentPid, Stage, threadTimes } from "./stage.ts";

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Microseconds: in the function itself, and with what it calls. */
interface Times {
  readonly self: Map<string, number>;
  readonly whole: Map<string, number>;
}

const ROWS = 40;
/** Not work: nothing runs, or the thread waits in poll(). */
const IDLE = /^\((idle|program|root)\)|^wait /;

function timesOf(profile: Profile): Times {
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const names = new Map(profile.nodes.map((node) => [node.id, nameOf(node)]));
  const times: Times = { self: new Map(), whole: new Map() };
  const add = (map: Map<string, number>, name: string, time: number) => map.set(name, (map.get(name) ?? 0) + time);
  for (const [at, sample] of profile.samples.entries()) {
    const time = profile.timeDeltas[at] ?? 0;
    add(times.self, names.get(sample) ?? "?", time);
    const stack = new Set<string>();
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) stack.add(names.get(id) ?? "?");
    for (const name of stack) add(times.whole, name, time);
  }
  return times;
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  return `${functionName || "(anonymous)"} ${url === "" ? "" : `${basename(url)}:${lineNumber + 1}`}`.trim();
}

function print(title: string, { self, whole }: Times, exchanges: number): void {
  const busy = [...self].filter(([name]) => !IDLE.test(name));
  const total = busy.reduce((sum, [, time]) => sum + time, 0);
  const nanoseconds = (time: number) => ((time * 1000) / exchanges).toFixed(0).padStart(8);
  console.log(`\n${title}: ${nanoseconds(total).trim()} ns an exchange\n    self    with callees`);
  for (const [name, time] of busy.sort((a, b) => b[1] - a[1]).slice(0, ROWS)) {
    console.log(`${nanoseconds(time)} ${nanoseconds(whole.get(name) ?? 0)} ns  ${name}`);
  }
}

async function main(): Promise<number> {
  const load = LOADS.find(({ id }) => id === process.argv[2]);
  if (load === undefined) {
    console.error(`name a load: ${LOADS.map(({ id }) => id).join(", ")}`);
    return 2;
  }
  const seconds = Number(process.argv[3] ?? 4);
  const folder = mkdtempSync(join(tmpdir(), "bench-profile-"));
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      abort.abort();
      void Stage.clear().finally(() => process.exit(130));
    });
  }
  try {
    const stage = await Stage.up(abort.signal);
    await stage.stopAgent();
    const onlyThreads = process.argv.includes("--threads");
    const profiled = { NODE_OPTIONS: `--cpu-prof --cpu-prof-interval 200 --cpu-prof-dir ${folder}` };
    const agent = await stage.startAgent(onlyThreads ? {} : profiled);
    const pid = await agentPid(agent);
    const endless = { ...load, most: 100_000_000 };
    if (onlyThreads) await runLoad(stage, endless, "sallyport", seconds);
    const before = await threadTimes(pid);
    const result = await runLoad(stage, endless, "sallyport", seconds);
    const after = await threadTimes(pid);
    console.log(JSON.stringify(result));
    const exchanges = result?.done ?? 1;
    const used = [...after].map(([thread, time]) => ({ thread, time: time - (before.get(thread) ?? 0) }));
    const busiest = used.sort((a, b) => b.time - a.time).slice(0, 5);
    const shown = busiest.map(({ thread, time }) => {
      const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
      return `${name} ${(time / exchanges).toFixed(0)} ns`;
    });
    console.log(`processor time of the busiest threads, an exchange: ${shown.join(", ")}`);
    await stage.stopAgent();
    for (const file of readdirSync(folder)) {
      const times = timesOf(JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile);
      const runs = (name: string) => [...times.whole.keys()].some((key) => key.startsWith(`${name} `));
      if (runs("#drain")) print("packet lane", times, exchanges);
      else if (runs("#readSlice")) print("main thread", times, exchanges);
      else if (runs("readConntrackEntry") || runs("packMessage")) print("reader of endings", times, exchanges);
    }
    return 0;
  } finally {
    await Stage.clear();
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
