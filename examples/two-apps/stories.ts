import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tryToReach } from "../../src/lab/probe.ts";
import type { World } from "./world.ts";

/** Something that happens over time: what must come of it, and what did. */
export interface Story {
  readonly name: string;
  readonly expected: string;
  tell(world: World): Promise<StoryEnd>;
}

export interface StoryEnd {
  readonly saw: string;
  readonly ok: boolean;
}

const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";
const SLOW = "https://api.github.com/slow";
const APP1_LABELS = { app: "app1", "egress-ruleset": "app1" };

export const STORIES: readonly Story[] = [
  {
    name: "a second request on a kept connection, to another Host",
    expected: "200, then 403",
    async tell({ lab }) {
      const url = "http://api.weather.gov/points/1,2";
      const status = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n", "-m", "6"];
      const argv = ["curl", "-s", ...status, url, "--next", "-s", ...status, "-H", "Host: www.weather.gov", url];
      const { stdout } = await lab.exec(APP2, argv);
      const saw = stdout.trim().split("\n").join(", ");
      return { saw, ok: saw === "200 1, 403 0" };
    },
  },
  {
    name: "a second request on a kept connection, to another path",
    expected: "200, then 403",
    async tell({ lab }) {
      const status = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n", "-m", "6"];
      const base = "http://api.weather.gov";
      const argv = ["curl", "-s", ...status, `${base}/points/1,2`, "--next", "-s", ...status, `${base}/secret`];
      const { stdout } = await lab.exec(APP2, argv);
      const saw = stdout.trim().split("\n").join(", ");
      return { saw, ok: saw === "200 1, 403 0" };
    },
  },
  {
    name: "the label is removed while a download runs",
    expected: "ends within 1 s; after the label is back, it works again",
    async tell(world) {
      const ended = await duringDownload(world, () => world.lab.setLabels(APP1, { app: "app1" }));
      await world.lab.setLabels(APP1, APP1_LABELS);
      return afterwards(world, ended);
    },
  },
  {
    name: "the policy is taken away while a download runs",
    expected: "ends within 1 s; after the policy is back, it works again",
    async tell(world) {
      const file = join(world.policies, "10-app1.yaml");
      const text = readFileSync(file, "utf8");
      const ended = await duringDownload(world, () => rmSync(file));
      writeFileSync(file, text);
      return afterwards(world, ended);
    },
  },
  {
    name: "a change to another app's policy while a download runs",
    expected: "the download goes on",
    async tell(world) {
      const file = join(world.policies, "20-app2.yaml");
      const text = readFileSync(file, "utf8");
      const ended = await duringDownload(world, () => writeFileSync(file, text.replace("dns.google", "dns.example")));
      writeFileSync(file, text);
      await applied(world);
      return { saw: ended === null ? "goes on" : `ended after ${ended} ms`, ok: ended === null };
    },
  },
  {
    name: "a broken policy file is written",
    expected: "it is refused, and what ran goes on",
    async tell(world) {
      const file = join(world.policies, "10-app1.yaml");
      const text = readFileSync(file, "utf8");
      const agent = world.agentOf(APP1);
      agent.forgetLog();
      writeFileSync(file, text.replace("action: Allow", "acton: Allow"));
      const refused = await agent.event("documents-refused", 4_000).then(
        () => true,
        () => false,
      );
      const { reached } = await tryToReach(world.lab, { from: APP1, to: "https://api.github.com/" });
      writeFileSync(file, text);
      return { saw: `${refused ? "refused" : "taken"}, ${reached ? "goes on" : "stopped"}`, ok: refused && reached };
    },
  },
];

/** Runs a download through a change. Milliseconds from the change to its end, or null when it still runs 1.5 s after. */
async function duringDownload(world: World, change: () => unknown): Promise<number | null> {
  const client = world.lab.spawn(APP1, ["curl", "-sSN", "-m", "20", "-o", "/dev/null", SLOW], { stdio: "ignore" });
  const over = once(client, "exit");
  await new Promise((resolve) => setTimeout(resolve, 700));
  if (client.exitCode !== null) throw new Error(`the download did not run: curl ended with ${client.exitCode}`);
  const agent = world.agentOf(APP1);
  agent.forgetLog();
  const begun = performance.now();
  await change();
  const ended = await Promise.race([
    over.then(() => Math.round(performance.now() - begun)),
    new Promise<null>((resolve) => setTimeout(() => resolve(null), 1_500)),
  ]);
  client.kill("SIGKILL");
  return ended;
}

async function applied(world: World): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 400));
  await Promise.all(world.agents.map((agent) => agent.event("applied").catch(() => undefined)));
}

async function afterwards(world: World, ended: number | null): Promise<StoryEnd> {
  await applied(world);
  const { reached } = await tryToReach(world.lab, { from: APP1, to: "https://api.github.com/" });
  const saw = `${ended === null ? "went on" : `ended after ${ended} ms`}, then ${reached ? "works" : "does not work"}`;
  return { saw, ok: ended !== null && ended <= 1_000 && reached };
}
