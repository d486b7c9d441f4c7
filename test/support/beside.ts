import { expect } from "vitest";
import { OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import { sleep } from "./agent-lab.ts";
import { type FaultLab, OTHER, PARTNER } from "./fault-lab.ts";
import { steadyLoad } from "./steady-client.ts";
import type { Attempt } from "./steady-load.ts";

/** New connections by name and by address, questions and datagrams, sixty a second; a question is sent once. */
function twin({ world }: FaultLab, pod: string) {
  const api = OUTSIDE.githubApi.ipv4;
  const targets = [SERVICES.dns.ipv4, "api.github.com", api, "raw.github.com", PARTNER, "8443", "9000"];
  return steadyLoad(world, pod, 60, ...targets);
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
