import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentLab } from "./agent-lab.ts";
import type { Attempt } from "./steady-load.ts";

/** steady-load.ts in a pod, from its first attempt on: `rate` a second to these targets. */
export async function steadyLoad(world: AgentLab, pod: string, rate: number, ...targets: readonly string[]) {
  const file = join(world.lab.directory, `steady-${pod.replace("/", "-")}-${Date.now()}.json`);
  const child = world.script(pod, "steady-load.ts", String(rate), file, ...targets);
  await once(child.stdout!, "data");
  return {
    async end(): Promise<Attempt[]> {
      const over = once(child, "exit");
      child.kill("SIGTERM");
      await over;
      return JSON.parse(readFileSync(file, "utf8")) as Attempt[];
    },
  };
}
