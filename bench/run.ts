/**
 * Measures everything side by side, root only: `node bench/run.ts [--quick] [--only PART,...] [--calm SECONDS]
 * [--repeats TIMES] [--out FILE]`. PART is a load of bench/loads.ts, or `lane`, `names`, `scale`. A run waits for the machine
 * to idle, so long at most, and is repeated when others disturb it. Two labs are brought up and taken away again, also after
 * Ctrl-C. Prints tables and writes them to FILE.md, the figures to FILE.json (bench/results/latest).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { must, run } from "../src/lab/process.ts";
import { measureLaneCost } from "./lane-cost.ts";
import { type NameCost, type Report, renderReport } from "./report.ts";
import { rivalVersions } from "./rivals.ts";
import { measureLoads } from "./rounds.ts";
import { measureScale } from "./scale.ts";
import { ROOT, Stage } from "./stage.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    calm: { type: "string", default: "1" },
    repeats: { type: "string", default: "1" },
    out: { type: "string", default: join(ROOT, "bench/results/latest") },
  },
});
const { quick } = values;
const PARTS = ["lane", "names", "scale"];
const only = (values.only ?? "").split(",").filter(Boolean);
const wants = (part: string) => only.length === 0 || only.includes(part);
const loads = only.filter((id) => !PARTS.includes(id));

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    stopping.abort(new Error(`${signal}: the labs are taken down`));
    void Stage.clear().finally(() => process.exit(130));
  });
}

const say = (line: string) => {
  if (process.stderr.isTTY || process.env.BENCH_VERBOSE !== undefined) process.stderr.write(`${line}\n`);
};

async function nameCost(): Promise<NameCost> {
  const { stdout } = await run([process.execPath, join(ROOT, "bench/decide.ts")], { timeoutMs: 120_000 });
  const take = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  return {
    names: take(/^(\d+) names: built/m),
    hitNanoseconds: take(/^look-up of a name that is there +(\d+) ns/m),
    missNanoseconds: take(/^look-up of a name that is not +(\d+) ns/m),
    bytesEach: take(/, ([\d.]+) bytes a name/),
  };
}

async function measure(): Promise<Report> {
  const before = loadavg()[0] ?? 0;
  const names = wants("names") ? await nameCost() : null;
  const stage = await Stage.up(stopping.signal);
  const rounds = quick ? 3 : 5;
  const options = {
    scale: quick ? 0.4 : 1,
    rounds,
    only: loads,
    calmMs: Number(values.calm) * 1000,
    repeats: Number(values.repeats),
    say,
    signal: stopping.signal,
  };
  const measured = loads.length > 0 || only.length === 0 ? await measureLoads(stage, options) : [];
  const lane = wants("lane") ? await measureLaneCost(stage, 3, quick ? 0.6 : 2) : [];
  const scale = wants("scale")
    ? await measureScale(stage, {
        ...{ starts: quick ? 1 : 3, changes: quick ? 6 : 100, changeSeconds: quick ? 20 : 60 },
        ...{ signal: stopping.signal, say },
      })
    : null;
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: (await must(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]).catch(() => "?")).trim(),
    command: quick ? "make bench QUICK=1" : "make bench",
    machine: {
      cpu: cpus()[0]?.model ?? "?",
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
    },
    versions: await rivalVersions(),
    load: [before, loadavg()[0] ?? 0],
    loads: measured,
    lane,
    names,
    scale,
  };
}

try {
  const report = await measure();
  const text = renderReport(report);
  mkdirSync(join(values.out, ".."), { recursive: true });
  writeFileSync(`${values.out}.json`, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(`${values.out}.md`, text);
  console.log(text);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  await Stage.clear();
}
