/** The demo: `node examples/two-apps/demo.ts [--keep]`. Real clients in the lab, and what the agent made of them. */
import { parseArgs } from "node:util";
import { missingRequirement } from "../../src/lab/requirements.ts";
import { paperRows, translatedRows, tryRows } from "./rows.ts";
import { STORIES } from "./stories.ts";
import { palette, podTable } from "./table.ts";
import { World } from "./world.ts";

const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const NAME = values.keep ? "demo" : `demo${process.pid}`;
const paint = palette(process.stdout.isTTY && process.env.NO_COLOR === undefined);

const begun = performance.now();
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) return;
    stopping.abort();
    console.error(`\n${signal}: taking the lab down`);
    // A lab that is still being built is taken down by its builder: two at once would race.
    if (world !== null) void clearUp().finally(() => process.exit(130));
  });
}

let world: World | null = null;
let cleared: Promise<void> | null = null;

function clearUp(): Promise<void> {
  cleared ??= (world?.down() ?? Promise.resolve()).catch((error: unknown) => console.error(String(error)));
  return cleared;
}

async function main(): Promise<number> {
  const missing = await missingRequirement();
  if (missing !== null) {
    console.error(missing);
    return 2;
  }
  console.log("Bringing up the lab: pods, two nodes with an agent each, and an outside world ...");
  world = await World.up({ name: NAME, signal: stopping.signal });
  const ready = world.agents.map((agent) => agent.log.find((line) => line.event === "ready"));
  const queue = ready[0]?.queue === "native" ? "nft `queue`" : "the xtables NFQUEUE target";
  console.log(`Agents enforce (first packets come to them through ${queue}).`);
  console.log("Real clients try everything, over IPv4 and IPv6; the last column says which rule decided, or why.");
  let wrong = 0;
  let right = 0;
  await tryRows(world, [...paperRows(), ...translatedRows()], stopping.signal, (pod, outcomes) => {
    if (stopping.signal.aborted) return;
    console.log(podTable(pod, outcomes, paint));
    const bad = outcomes.filter(({ problem }) => problem !== null).length;
    wrong += bad;
    right += outcomes.length - bad;
  });
  stopping.signal.throwIfAborted();
  console.log("\nAnd over time:");
  for (const story of STORIES) {
    stopping.signal.throwIfAborted();
    const end = await story.tell(world).catch((error: Error) => ({ ok: false, saw: error.message }));
    if (end.ok) right++;
    else wrong++;
    console.log(`  ${end.ok ? paint.good("ok   ") : paint.bad("WRONG")} ${story.name}: ${end.saw}`);
    if (!end.ok) console.log(`        ${paint.bad(`expected: ${story.expected}`)}`);
  }
  if (values.keep) {
    world.keep();
    printTour(world);
  } else await clearUp();
  stopping.signal.throwIfAborted();
  console.log(`\ndemo: ${((performance.now() - begun) / 1000).toFixed(1)} s\n${right} as expected, ${wrong} wrong`);
  return wrong === 0 && right > 0 ? 0 : 1;
}

function printTour(on: World): void {
  const { lab, agents } = on;
  console.log(`
The lab \`${lab.name}\` and its agents stay up. Look around:
  bin/sallyport lab exec app1-ns/app1 -- curl -sS https://api.github.com/
  bin/sallyport lab exec app1-ns/app1 -- curl -sS https://api.weather.gov/
  bin/sallyport lab status
  bin/sallyport flows -f ${agents[0]?.flows}
  edit ${on.policies} and watch it take effect
  bin/sallyport lab down`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!stopping.signal.aborted) console.error(error instanceof Error ? error.message : String(error));
  await clearUp();
  process.exitCode = stopping.signal.aborted ? 130 : 2;
}
