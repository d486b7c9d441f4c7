/** The demo: `node examples/two-apps/demo.ts [--keep]`. Real clients in the lab, and what the agent made of them. */
import { parseArgs } from "node:util";
import { missingRequirement } from "../../src/lab/requirements.ts";
import { removeLab } from "../../src/lab/teardown.ts";
import { paperRows, translatedRows, tryRows } from "./rows.ts";
import { STORIES } from "./stories.ts";
import { palette, podTable } from "./table.ts";
import { World } from "./world.ts";

const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const NAME = values.keep ? "demo" : `demo${process.pid}`;
const paint = palette(process.stdout.isTTY && process.env.NO_COLOR === undefined);

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    stopping.abort();
    console.error(`\n${signal}: taking the lab down`);
    void clearUp().finally(() => process.exit(130));
  });
}

let world: World | null = null;

async function clearUp(): Promise<void> {
  await (world?.down() ?? removeLab(NAME)).catch((error: unknown) => console.error(String(error)));
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
    console.log(podTable(pod, outcomes, paint));
    const bad = outcomes.filter(({ problem }) => problem !== null).length;
    wrong += bad;
    right += outcomes.length - bad;
  });
  console.log("\nAnd over time:");
  for (const story of STORIES) {
    if (stopping.signal.aborted) break;
    const end = await story.tell(world);
    if (end.ok) right++;
    else wrong++;
    console.log(`  ${end.ok ? paint.good("ok   ") : paint.bad("WRONG")} ${story.name}: ${end.saw}`);
    if (!end.ok) console.log(`        ${paint.bad(`expected: ${story.expected}`)}`);
  }
  if (values.keep) {
    // The agents are children of this process only by name: they go on.
    for (const agent of world.agents) agent.detach();
    printTour(world);
  } else await clearUp();
  console.log(`\n${right} as expected, ${wrong} wrong`);
  return wrong === 0 && right > 0 ? 0 : 1;
}

function printTour(on: World): void {
  const { lab, agents } = on;
  console.log(`
The lab \`${lab.name}\` and its agents stay up. Look around:
  bin/sallyport lab exec --name ${lab.name} app1-ns/app1 -- curl -sS https://api.github.com/
  bin/sallyport lab exec --name ${lab.name} app1-ns/app1 -- curl -sS https://api.weather.gov/
  bin/sallyport flows -f ${agents[0]?.flows}
  edit ${on.policies} and watch it take effect
  bin/sallyport lab down --name ${lab.name}`);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  await clearUp();
  process.exitCode = 2;
}
