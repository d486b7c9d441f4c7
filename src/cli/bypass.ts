import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { type Bypass, type BypassScope, LONGEST_MS, MOST_BYPASSES } from "../agent/bypass/bypass.ts";
import { bootID, LONGEST_REASON, readBypasses, readKnown, writeBypasses } from "../agent/bypass/bypass-file.ts";
import { defaultStateFolder } from "../agent/journal/folder.ts";
import { bypassClock } from "../kernel/ruleset-sets.ts";
import { EXIT, UsageError } from "./failure.ts";
import { type Format, paint, printAs, table } from "./output.ts";

interface Options {
  readonly namespace?: string;
  readonly node?: boolean;
  readonly all?: boolean;
  /** Milliseconds. */
  readonly for?: number;
  readonly reason?: string;
  readonly list?: boolean;
  /** An id, `all`, or true: all. */
  readonly end?: string | boolean;
  readonly state?: string;
  readonly output: Format;
}

/** Where the chart mounts the folder. */
const MOUNTED = "/run/sallyport";
const SHORTEST_MS = 10_000;
/** How long a living agent may take. */
const ANSWER_MS = 5_000;

/** Sets enforcement aside on this node, for a while. It needs neither the API server nor an agent that lives. @throws UsageError */
export async function bypass(options: Options): Promise<void> {
  const folder = options.state ?? stateFolder();
  if (process.getuid?.() !== 0) throw new UsageError("`bypass` is for root of the node: run it as root");
  const asked = [options.list === true, options.end !== undefined, scopeOf(options) !== null].filter(Boolean).length;
  if (asked !== 1) {
    throw new UsageError("`bypass` needs one of `--namespace NAME`, `--node`, `--all`, `--list` and `--end`");
  }
  try {
    if (options.list === true) return await list(folder, options.output);
    if (options.end !== undefined) return await end(folder, options.end);
    return await begin(folder, options);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`\`${folder}\`: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function begin(folder: string, options: Options): Promise<void> {
  const added = newBypass(options);
  const before = readBypasses(folder);
  if (before.length >= MOST_BYPASSES) throw new UsageError(`there are ${MOST_BYPASSES} already: \`--end\` some`);
  writeBypasses(folder, [...before, added]);
  console.log(`${added.id}  ${what(added)} until ${added.until}`);
  await settle(folder, (known) => known.has(added.id), added.scope === "Namespace" ? added.namespace : null);
}

async function end(folder: string, which: string | boolean): Promise<void> {
  const before = readBypasses(folder);
  const ended = which === true || which === "all" ? before : before.filter(({ id }) => id === which);
  if (ended.length === 0 && typeof which === "string" && which !== "all") {
    throw new UsageError(`there is no bypass \`${which}\`: \`sallyport bypass --list\` shows them`);
  }
  writeBypasses(
    folder,
    before.filter((one) => !ended.includes(one)),
  );
  for (const one of ended) console.log(`${one.id}  ended: ${what(one)}`);
  await settle(folder, (known) => !ended.some(({ id }) => known.has(id)), null);
}

/** Waits for the agent's word; where none comes the kernel is told from here. */
async function settle(folder: string, done: (known: ReadonlySet<string>) => boolean, namespace: string | null) {
  const { agentLives } = await import("../agent/succession/living.ts");
  const until = performance.now() + ANSWER_MS;
  while (await agentLives(folder)) {
    if (done(readKnown(folder))) {
      console.log(paint("allow", "in force: the agent decides so"));
      return;
    }
    if (performance.now() > until) break;
    await pause(50);
  }
  const { bypassWithoutAgent } = await import("../agent/bypass/without-agent.ts");
  const ranges = await bypassWithoutAgent(folder, readBypasses(folder));
  if (ranges === null) {
    console.log(paint("warn", "no agent answers, and there are no rules of Sallyport here: nothing is denied"));
    return;
  }
  console.log(paint("warn", `no agent answers: told the kernel (${ranges} ranges); what passes is not recorded`));
  if (namespace === null || ranges > 0) return;
  console.log(`no pod of \`${namespace}\` is known on this node: \`--node\` lets all pods pass`);
  process.exitCode = EXIT.failed;
}

async function list(folder: string, output: Format): Promise<void> {
  const known = readKnown(folder);
  const bypasses = readBypasses(folder).map(({ endsAt, bootID: _, ...one }) => ({
    ...one,
    secondsLeft: Math.max(0, Math.round((endsAt - bypassClock()) / 1000)),
    agentKnows: known.has(one.id),
  }));
  await printAs(output, bypasses, () => {
    if (bypasses.length === 0) return "nothing is bypassed on this node\n";
    const rows = bypasses.map((one) => [
      one.id,
      one.scope,
      one.namespace ?? "-",
      `${one.secondsLeft} s`,
      one.by,
      one.reason,
      one.agentKnows ? "agent" : "kernel",
    ]);
    return table([["id", "scope", "namespace", "left", "by", "reason", "held by"], ...rows]);
  });
}

/** @throws UsageError */
function newBypass(options: Options): Bypass {
  const { for: milliseconds, reason = "", namespace = null } = options;
  if (milliseconds === undefined) throw new UsageError("`bypass` needs `--for`: `15m`, `2h`, at most `24h`");
  if (milliseconds < SHORTEST_MS || milliseconds > LONGEST_MS) {
    throw new UsageError("`--for` is from `10s` to `24h`: a policy in Audit mode is for longer");
  }
  const why = reason.trim();
  if (why === "" || why.length > LONGEST_REASON || /\p{Cc}/u.test(why)) {
    throw new UsageError(`\`bypass\` needs \`--reason TEXT\`, one line of at most ${LONGEST_REASON} characters`);
  }
  if (namespace !== null && !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) {
    throw new UsageError(`\`--namespace ${namespace}\` is no name of a namespace`);
  }
  const now = Date.now();
  return {
    id: randomBytes(4).toString("hex"),
    scope: scopeOf(options)!,
    namespace,
    reason: why,
    by: whoAmI(),
    since: new Date(now).toISOString(),
    until: new Date(now + milliseconds).toISOString(),
    bootID: bootID(),
    endsAt: bypassClock() + milliseconds,
  };
}

function scopeOf({ namespace, node, all }: Options): BypassScope | null {
  const scopes = [
    ...(namespace === undefined ? [] : ["Namespace" as const]),
    ...(node === true ? ["Node" as const] : []),
    ...(all === true ? ["All" as const] : []),
  ];
  if (scopes.length > 1) throw new UsageError("`--namespace`, `--node` and `--all` exclude each other: choose one");
  return scopes[0] ?? null;
}

function what({ scope, namespace, reason }: Bypass): string {
  const whom = { Namespace: `pods of \`${namespace}\``, Node: "all pods of this node", All: "everything on this node" };
  return `${whom[scope]} (${reason})`;
}

/** The user behind sudo, else whom the audit system saw log in, else root. For the log: who is root here can say anything. */
function whoAmI(): string {
  const { SUDO_USER } = process.env;
  if (SUDO_USER !== undefined && SUDO_USER !== "") return SUDO_USER.slice(0, LONGEST_REASON);
  try {
    const login = readFileSync("/proc/self/loginuid", "latin1").trim();
    if (login !== "4294967295" && login !== "0" && login !== "") return `uid ${login}`;
  } catch {
    // A kernel without audit.
  }
  return "root";
}

/** The agent's own by default, or where the chart puts it. */
function stateFolder(): string {
  const own = defaultStateFolder();
  return existsSync(own) ? own : MOUNTED;
}
