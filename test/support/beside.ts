import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { sleep } from "./agent-lab.ts";
import { type FaultLab, OTHER, PARTNER } from "./fault-lab.ts";
import type { Attempt } from "./steady-load.ts";

/** New connections by name and by address, questions and datagrams, sixty a second; a question is sent once. */
async function twin({ world }: FaultLab, pod: string) {
  const file = join(world.lab.directory, `twin-${Date.now()}.json`);
  const api = OUTSIDE.githubApi.ipv4;
  const words = ["60", file, SERVICES.dns.ipv4, "api.github.com", api, "raw.github.com", PARTNER, "8443", "9000"];
  const child = world.script(pod, "steady-load.ts", ...words);
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

/** Floods while OTHER works; how OTHER fared, and the metrics before and after. */
export async function beside(fault: FaultLab, flood: () => Promise<unknown>) {
  const before = await fault.metrics();
  const honest = await twin(fault, OTHER);
  await sleep(500);
  await flood();
  const attempts = await honest.end();
  return { attempts, before, after: await fault.metrics() };
}

/** A flood that stopped the neighbour's program would show as no failures. */
export function expectAllKinds(attempts: readonly Attempt[]): void {
  for (const kind of ["tls", "tcp", "dns", "udp"] as const) {
    expect(attempts.filter((one) => one.kind === kind).length).toBeGreaterThan(60);
  }
}

export function failed(attempts: readonly Attempt[]): string[] {
  return attempts.flatMap(({ kind, problem }) => (problem === "" ? [] : [`${kind}: ${problem}`]));
}
