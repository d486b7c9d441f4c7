/**
 * Where the agent's time goes under one load: `node bench/profile.ts LOAD [SECONDS]`, LOAD one of those of bench/loads.ts.
 * Runs the agent under V8's sampling profiler and prints, for the packet lane and the main thread, the functions that
 * took the most time, in nanoseconds an exchange of the load.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { LOADS, runLoad } from "./loads.ts";
import { agentPid, Stage, threadTimes } from "./stage.ts";

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const ROWS = 45;

/** Microseconds of self time by function. */
function selfTimes(profile: Profile): Map<string, number> {
  const names = new Map(
    profile.nodes.map(({ id, callFrame }) => {
      const { functionName, url, lineNumber } = callFrame;
      const place = url === "" ? "" : ` ${basename(url)}:${lineNumber + 1}`;
      return [id, `${functionName || "(anonymous)"}${place}`];
    }),
  );
  const times = new Map<string, number>();
  for (const [at, sample] of profile.samples.entries()) {
    const name = names.get(sample) ?? "?";
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas[at] ?? 0));
  }
  return times;
}

function print(title: string, times: Map<string, number>, exchanges: number): void {
  const busy = [...times].filter(([name]) => !["(idle)", "(program)", "(root)"].includes(name));
  const total = busy.reduce((sum, [, time]) => sum + time, 0);
  console.log(`\n${title}: ${((total * 1000) / exchanges).toFixed(0)} ns an exchange`);
  for (const [name, time] of busy.sort((a, b) => b[1] - a[1]).slice(0, ROWS)) {
    const part = ((time / total) * 100).toFixed(1).padStart(5);
    console.log(`${((time * 1000) / exchanges).toFixed(0).padStart(8)} ns ${part} %  ${name}`);
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
    const agent = await stage.startAgent({
      NODE_OPTIONS: `--cpu-prof --cpu-prof-interval 200 --cpu-prof-dir ${folder}`,
    });
    const pid = await agentPid(agent);
    const endless = { ...load, most: 100_000_000 };
    const before = await threadTimes(pid);
    const result = await runLoad(stage, endless, "sallyport", seconds);
    const after = await threadTimes(pid);
    console.log(JSON.stringify(result));
    const exchanges = result?.done ?? 1;
    const used = [...after].map(([thread, time]) => time - (before.get(thread) ?? 0)).sort((a, b) => b - a);
    const shown = used.slice(0, 4).map((time) => `${(time / exchanges).toFixed(0)} ns`);
    console.log(`processor time of the busiest threads, an exchange: ${shown.join(", ")}`);
    await stage.stopAgent();
    for (const file of readdirSync(folder)) {
      const times = selfTimes(JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile);
      const lane = [...times.keys()].some((name) => name.startsWith("#drain"));
      const events = [...times.keys()].some((name) => name.includes("events-worker"));
      print(lane ? "packet lane" : events ? "conntrack events" : "main thread", times, exchanges);
    }
    return 0;
  } finally {
    await Stage.clear();
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
