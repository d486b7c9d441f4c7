/** The demo: `node examples/two-apps/demo.ts [--keep]`. Real clients in the lab, and what the agent made of them. */
import { parseArgs } from "node:util";
import { missingRequirement } from "../../src/lab/requirements.ts";
import { removeLab } from "../../src/lab/teardown.ts";
import { type Outcome, paperRows, translatedRows, tryRows } from "./rows.ts";
import { STORIES } from "./stories.ts";
import { World } from "./world.ts";

const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const NAME = values.keep ? "demo" : `demo${process.pid}`;
const colour = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);

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

function printOutcome({ row, result, record, problem }: Outcome): void {
  const mark = problem === null ? paint(32, "ok   ") : paint(31, "WRONG");
  const by = record === null ? "inside" : [record.policy?.split("/").slice(1).join("/"), record.rule].filter(Boolean).join(" / ");
  const why = record === null ? "" : record.reason === "RuleMatched" ? by : [record.reason, by].filter(Boolean).join(", ");
  const to = `${row.to}${row.ip === undefined ? "" : ` at ${row.ip}`}${row.family === undefined ? "" : ` (v${row.family})`}`;
  const reached = result.reached ? paint(32, "reached") : paint(33, "denied ");
  console.log(`${mark} ${row.from.padEnd(18)} ${to.padEnd(58)} ${reached} ${result.saw.slice(0, 44).padEnd(44)} ${why}`);
  if (problem !== null) console.log(`      ${paint(31, problem)}; tried: ${result.command}`);
}

async function main(): Promise<number> {
  const missing = await missingRequirement();
  if (missing !== null) {
    console.error(missing);
    return 2;
  }
  console.log("Bringing up the lab: pods, two nodes with an agent each, and an outside world ...");
  world = await World.up({ name: NAME, signal: stopping.signal });
  const ready = world.agents.map((agent) => agent.log.find((line) => line["event"] === "ready"));
  console.log(`Agents enforce (packets come through ${ready[0]?.["queue"] === "native" ? "nft queue" : "the xtables NFQUEUE target"}).\n`);
  let wrong = 0;
  let right = 0;
  const outcomes = await tryRows(world, [...paperRows(), ...translatedRows()], stopping.signal);
  for (const outcome of outcomes) {
    printOutcome(outcome);
    if (outcome.problem === null) right++;
    else wrong++;
  }
  console.log("\nAnd over time:");
  for (const story of STORIES) {
    if (stopping.signal.aborted) break;
    const end = await story.tell(world);
    if (end.ok) right++;
    else wrong++;
    console.log(`${end.ok ? paint(32, "ok   ") : paint(31, "WRONG")} ${story.name}: ${story.expected}\n      ${end.saw}`);
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
