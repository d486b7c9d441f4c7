import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readEgressTests } from "../../src/cli/egress-test.ts";
import type { FlowRecord } from "../../src/flow/record.ts";
import { type AddressPair, OUTSIDE, PUBLISHED, SERVICES } from "../../src/lab/addresses.ts";
import { type Probe, type ProbeResult, tryToReach } from "../../src/lab/probe.ts";
import { EXAMPLE, type World } from "./world.ts";

/** One line of the scenario: an attempt, and what must come of it. */
export interface Row extends Probe {
  readonly name: string;
  readonly action: "Allow" | "Deny";
  /** What the agent must have decided by, where the row says so. Null: no rule. */
  readonly policy?: string | null | undefined;
  readonly rule?: string | null | undefined;
}

export interface Outcome {
  readonly row: Row;
  readonly result: ProbeResult;
  /** What the agent recorded of it; null where inside traffic is nobody's egress. */
  readonly record: FlowRecord | null;
  readonly problem: string | null;
}

/** The rows that are decided on paper too: `tests/*.yaml`, tried in both families where the row leaves it open. */
export function paperRows(): Row[] {
  const folder = join(EXAMPLE, "tests");
  const rows: Row[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".yaml"))) {
    const { tests, problems } = readEgressTests(file, readFileSync(join(folder, file), "utf8"));
    if (problems.length > 0) throw new Error(problems[0]);
    for (const { name, from, to, ip, expect } of tests.flatMap((test) => test.cases)) {
      if (to.startsWith("quic:")) continue;
      const row: Row = { name, from, to, action: expect.action, policy: expect.policy, rule: expect.rule };
      rows.push(...bothFamilies(ip === null ? row : { ...row, ip }));
    }
  }
  return withTwins(rows);
}

/** A row with an IPv4 address is tried at the same host's IPv6 address too, unless a row of its own does that. */
function withTwins(rows: readonly Row[]): Row[] {
  const known = new Set(rows.map(({ from, to, ip }) => `${from} ${to} ${ip ?? ""}`));
  const twins = rows.flatMap((row) => {
    const twin = row.family === 4 ? twinOf(row) : null;
    return twin === null || known.has(`${twin.from} ${twin.to} ${twin.ip ?? ""}`) ? [] : [twin];
  });
  return [...rows, ...twins];
}

function twinOf(row: Row): Row | null {
  const pairs: readonly AddressPair[] = [...Object.values(OUTSIDE), ...Object.values(SERVICES)];
  const { hostname } = new URL(row.to);
  const pair = pairs.find(({ ipv4 }) => ipv4 === (row.ip ?? hostname));
  if (pair === undefined) return null;
  if (row.ip !== undefined) return { ...row, ip: pair.ipv6, family: 6 };
  return { ...row, to: row.to.replace(hostname, `[${pair.ipv6}]`), family: 6 };
}

/** Rows whose destination the node translates: paper cannot know that, the wire can. */
export function translatedRows(): Row[] {
  const rows: Row[] = [];
  for (const family of ["ipv4", "ipv6"] as const) {
    const host = (pair: { ipv4: string; ipv6: string }): string => (family === "ipv4" ? pair.ipv4 : `[${pair.ipv6}]`);
    const app1 = "app1-ns/app1";
    rows.push(
      { name: "a Service with an endpoint inside", from: app1, to: `http://${host(SERVICES.web)}/`, action: "Allow" },
      { name: "a public address translated to a pod", from: app1, to: `http://${host(PUBLISHED)}/`, action: "Allow" },
      {
        name: "a Service that leads outside, to the partner",
        from: app1,
        to: `tcp://${host(SERVICES.partner)}:22`,
        action: "Allow",
        rule: "partner-ssh",
      },
      {
        name: "the same Service, from the other app",
        from: "app2-ns/app2",
        to: `tcp://${host(SERVICES.partner)}:22`,
        action: "Deny",
      },
      {
        name: "a Service that leads outside, to nobody's friend",
        from: app1,
        to: `http://${host(SERVICES.evil)}/`,
        action: "Deny",
      },
    );
  }
  return rows;
}

function bothFamilies(row: Row): Row[] {
  const literal = row.ip ?? new URL(row.to).hostname.replace(/^\[|\]$/g, "");
  if (literal.includes(":")) return [{ ...row, family: 6 }];
  if (/^[0-9.]+$/.test(literal)) return [{ ...row, family: 4 }];
  return [4, 6].map((family) => ({ ...row, family: family as 4 | 6 }));
}

/**
 * Rows of one pod run one after another, so that its records tell which is which; pods run side by side, and `done` is told of
 * each when it has been through its rows.
 */
export async function tryRows(
  world: World,
  rows: readonly Row[],
  signal: AbortSignal | null,
  done: (pod: string, outcomes: readonly Outcome[]) => void,
): Promise<void> {
  const tryOwn = async (pod: string, own: readonly Row[]): Promise<void> => {
    const outcomes: Outcome[] = [];
    for (const row of own) {
      if (signal?.aborted === true) return;
      outcomes.push(await tryRow(world, row));
    }
    done(pod, outcomes);
  };
  await Promise.all([...Map.groupBy(rows, (row) => row.from)].map(([pod, own]) => tryOwn(pod, own)));
}

/** Tries one row with a real client and looks up what the agent recorded. */
export async function tryRow(world: World, row: Row): Promise<Outcome> {
  const mark = world.mark(row.from);
  const result = await tryToReach(world.lab, row);
  const records = await world.recordsSince(row.from, mark);
  const record = decisive(records, row);
  return { row, result, record, problem: problemOf(row, result, record) };
}

/** The record that decided: the last one, but a denied look-up or request rather than an allowed one before it. */
function decisive(records: readonly FlowRecord[], row: Row): FlowRecord | null {
  const decisions = records.filter(({ event }) => event !== "end" && event !== "lost");
  const wanted = row.to.startsWith("dns:") ? decisions.filter(({ event }) => event === "dns") : decisions;
  const flows = wanted.filter(({ event }) => event !== "dns");
  const denied = wanted.findLast(({ action }) => action === "Deny");
  return (row.action === "Deny" ? denied : undefined) ?? flows.at(-1) ?? wanted.at(-1) ?? null;
}

function problemOf(row: Row, result: ProbeResult, record: FlowRecord | null): string | null {
  if (result.reached !== (row.action === "Allow"))
    return result.reached ? "was reached" : `was not reached: ${result.saw}`;
  if (row.action === "Deny" && record?.action !== "Deny") return "no record of the denial";
  const by = (wanted: string | null | undefined, had: string | undefined): boolean =>
    wanted === undefined || wanted === (had ?? null);
  // A look-up that is denied by name ends an attempt before the rule that the row names is asked.
  if (row.action === "Allow" && record !== null && !(by(row.policy, record.policy) && by(row.rule, record.rule))) {
    return `decided by ${record.policy ?? "no policy"} ${record.rule ?? ""}`;
  }
  return null;
}
