import { join } from "node:path";
import { expect } from "vitest";
import { type Outcome, type Row, tryRow } from "../../examples/two-apps/rows.ts";
import type { World } from "../../examples/two-apps/world.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";

const WARM_LIMIT_MS = 20_000;

/** Rows of one pod to one address and port, of which `warmed` is allowed. */
export interface WarmGroup {
  readonly warmed: Row;
  readonly address: string;
  readonly port: number;
  readonly rows: readonly Row[];
}

/** A row with where it went, as far as anybody can tell. */
function endOf(row: Row, outcome: Outcome | undefined): { address: string; port: number } | null {
  const { hostname, port, protocol } = new URL(row.to);
  const literal = row.ip ?? hostname.replace(/^\[|\]$/g, "");
  const address = /^[0-9.]+$|:/.test(literal) ? literal : outcome?.record?.destination?.address;
  const usual = { "https:": 443, "http:": 80 }[protocol];
  const number = port === "" ? usual : Number(port);
  return address === undefined || number === undefined ? null : { address, port: number };
}

/** The rows that go where `isWarmed` says that one of the pod's rows is let through in the way that is tried. */
export function warmGroups(
  rows: readonly Row[],
  outcomes: ReadonlyMap<Row, Outcome>,
  isWarmed: (row: Row, outcome: Outcome) => boolean,
): WarmGroup[] {
  const places = Map.groupBy(rows, (row) => JSON.stringify([row.from, endOf(row, outcomes.get(row))]));
  return [...places.values()].flatMap((there) => {
    const warmed = there.find((row) => row.action === "Allow" && isWarmed(row, outcomes.get(row)!));
    const end = warmed === undefined ? null : endOf(warmed, outcomes.get(warmed));
    return warmed === undefined || end === null ? [] : [{ warmed, ...end, rows: there }];
  });
}

/** What the rules of the pod's node have counted under this name. */
export async function counted(world: World, pod: string, counter: string): Promise<number> {
  const { netns } = world.lab.node(world.lab.pod(pod).node);
  const argv = ["nft", "list", "counter", "inet", "sallyport", counter];
  const { stdout } = await run(inNetworkOnly(netns, argv), { timeoutMs: 5_000 });
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
}

/** Until the kernel has done by itself what `counter` counts. @throws AssertionError when it does not */
export async function untilWarm(world: World, pod: string, counter: string, work: () => Promise<unknown>) {
  const before = await counted(world, pod, counter);
  const deadline = performance.now() + WARM_LIMIT_MS;
  while ((await counted(world, pod, counter)) === before && performance.now() < deadline) await work();
  expect(await counted(world, pod, counter), `${counter}, of ${pod}`).toBeGreaterThan(before);
}

/** Tries a row, and expects what it says. */
export async function expectRow(world: World, row: Row, title: string): Promise<void> {
  const { problem, result, record } = await tryRow(world, row);
  expect.soft(problem, `${title}: ${JSON.stringify({ saw: result.saw, record })}`).toBeNull();
}

/** Connections of the group's pod to its place, until the answer is called. */
export function keepWarm({ lab }: World, { warmed, address, port }: WarmGroup): () => void {
  const script = join(import.meta.dirname, "keep-warm.ts");
  const { hostname, pathname } = new URL(warmed.to);
  const argv = [process.execPath, script, hostname, address, String(port), pathname];
  const child = lab.spawn(warmed.from, argv, { stdio: "ignore" });
  return () => child.kill("SIGKILL");
}
