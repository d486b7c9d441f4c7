import { QUESTION, TRANSLATED } from "../model/verdict.ts";
import { followedWords, GENERATION_BIT, inPlace, markLayout, OBSERVED_BIT, STATE_BITS } from "./marks.ts";
import { mustRun, type RunProgram } from "./program.ts";
import { otherGeneration, queuesOf, type RulesetSpec } from "./ruleset.ts";

/** Our chain in the mangle table of xtables (over nf_tables), priority -150: between question and answer. */
export const QUEUE_CHAIN = "SALLYPORT-QUEUE";
/** Where each table has it. In `security`: what pods on the host's network send, behind translation. */
const HOOKS = { mangle: ["PREROUTING", "FORWARD", "INPUT", "OUTPUT"], security: ["OUTPUT"] } as const;
const TABLES = ["mangle", "security"] as const;
type Table = (typeof TABLES)[number];
const FAMILIES = ["iptables", "ip6tables"] as const;

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/**
 * Input of `iptables-nft-restore --noflush`: fills our chain anew. Same rules for both families:
 *
 *     question of an observed workload, by the bit in the conntrack mark   → observed queue, passes without listener
 *     the same on an untracked packet, by a bit that it cannot have        → observed queue, passes without listener
 *     any other question                                                   → strict queue
 *
 * While the agent of the other generation listens too, questions about TCP flows that it follows come first, to its queues.
 */
export function renderQueueChain(spec: RulesetSpec, table: Table = "mangle"): string {
  const layout = markLayout(spec.markMask);
  const question = hex(inPlace(layout, QUESTION));
  const untracked = hex(inPlace(layout, QUESTION | TRANSLATED));
  const observed = hex(inPlace(layout, OBSERVED_BIT));
  const strictBypass = spec.failMode === "Open" ? " --queue-bypass" : "";
  const queues = queuesOf(spec.queueNumber, spec.generation);
  const otherRules = spec.other ? otherQueues(spec, strictBypass) : [];
  return [
    `*${table}`,
    `:${QUEUE_CHAIN} - [0:0]`,
    ...otherRules,
    `-A ${QUEUE_CHAIN} -m connmark --mark ${observed}/${observed} -j NFQUEUE --queue-num ${queues.observed} --queue-bypass`,
    `-A ${QUEUE_CHAIN} -m conntrack --ctstate UNTRACKED -m mark --mark ${untracked}/${untracked} -j NFQUEUE --queue-num ${queues.observed} --queue-bypass`,
    `-A ${QUEUE_CHAIN} -m mark --mark ${question}/${question} -j NFQUEUE --queue-num ${queues.strict}${strictBypass}`,
    "COMMIT",
    "",
  ].join("\n");
}

/** The observed bit joins the state bits in one masked comparison, so each followed state takes two rules. */
function otherQueues(spec: RulesetSpec, strictBypass: string): string[] {
  const layout = markLayout(spec.markMask);
  const former = otherGeneration(spec.generation);
  const queues = queuesOf(spec.queueNumber, former);
  const mask = STATE_BITS | GENERATION_BIT;
  const rule = (word: number, bits: number, target: string): string =>
    `-A ${QUEUE_CHAIN} -p tcp -m connmark --mark ${hex(inPlace(layout, word))}/${hex(inPlace(layout, bits))} -j NFQUEUE --queue-num ${target}`;
  const words = followedWords(former);
  return [
    ...words.map((word) => rule(word | OBSERVED_BIT, mask | OBSERVED_BIT, `${queues.observed} --queue-bypass`)),
    ...words.map((word) => rule(word, mask, `${queues.strict}${strictBypass}`)),
  ];
}

function jump(spec: RulesetSpec): string[] {
  const question = hex(inPlace(markLayout(spec.markMask), QUESTION));
  return ["-m", "mark", "--mark", `${question}/${question}`, "-j", QUEUE_CHAIN];
}

/** Fills our chain, then leads every hook into it, first of all rules. Without our table nothing bears the mark, so nothing is queued. */
export async function installQueueRules(run: RunProgram, spec: RulesetSpec): Promise<void> {
  // Side by side, as an agent that starts is waited for; and to the end of both, for calls must not overlap.
  for (const result of await Promise.allSettled(FAMILIES.map((family) => installFamily(run, spec, family)))) {
    if (result.status === "rejected") throw result.reason;
  }
}

async function installFamily(run: RunProgram, spec: RulesetSpec, family: string): Promise<void> {
  for (const table of TABLES)
    if (table === "mangle" || spec.hostPods === true) await installTable(run, spec, family, table);
}

async function installTable(run: RunProgram, spec: RulesetSpec, family: string, table: Table): Promise<void> {
  await mustRun(run, [`${family}-nft-restore`, "-w", "--noflush"], renderQueueChain(spec, table));
  const listed = await mustRun(run, [`${family}-nft`, "-w", "-t", table, "-S"]);
  for (const hook of HOOKS[table]) {
    const wanted = `-A ${hook} ${jump(spec).join(" ")}`;
    const rules = listed.split("\n").filter((line) => line.startsWith(`-A ${hook} `));
    if (rules[0] === wanted) continue;
    await mustRun(run, [`${family}-nft`, "-w", "-t", table, "-I", hook, "1", ...jump(spec)]);
    // The new jump stands; older ones, of another mask or in another place, go.
    for (const rule of rules.filter((line) => line.endsWith(` -j ${QUEUE_CHAIN}`)).reverse()) {
      const position = rules.indexOf(rule) + 2;
      await mustRun(run, [`${family}-nft`, "-w", "-t", table, "-D", hook, String(position)]);
      rules.splice(rules.indexOf(rule), 1);
    }
  }
}

/**
 * Our part of the mangle tables, as text to compare: our chain and the jumps into it. Where the jumps stand is not
 * compared: two programs that both want to be first would never rest. A rule before ours that ends the chain leaves
 * questions unanswered, which is closed, and counted.
 */
export async function queueRulesFingerprint(run: RunProgram, hostPods = false): Promise<string> {
  const tables = TABLES.filter((table) => table === "mangle" || hostPods);
  const parts = FAMILIES.flatMap((family) =>
    tables.map(async (table) => {
      const listed = await run([`${family}-nft`, "-w", "-t", table, "-S"]);
      const lines = listed.stdout.split("\n");
      const ours = lines.filter((line) => line.startsWith(`-A ${QUEUE_CHAIN} `));
      const jumps = lines.filter((line) => line.endsWith(` -j ${QUEUE_CHAIN}`));
      return [family, table, ...ours, ...jumps].join("\n");
    }),
  );
  return (await Promise.all(parts)).join("\n");
}

/** Takes our rules out. Missing ones are no error. */
export async function removeQueueRules(run: RunProgram): Promise<void> {
  for (const family of FAMILIES) for (const table of TABLES) await removeTable(run, family, table);
}

async function removeTable(run: RunProgram, family: string, table: Table): Promise<void> {
  // To list a table by `-S` makes it, and most machines have no `security`.
  const there = await run(["nft", "list", "chain", family === "iptables" ? "ip" : "ip6", table, QUEUE_CHAIN]);
  if (there.status !== 0) return;
  const listed = await run([`${family}-nft`, "-w", "-t", table, "-S"]);
  for (const line of listed.stdout.split("\n")) {
    if (!line.endsWith(` -j ${QUEUE_CHAIN}`)) continue;
    await run([`${family}-nft`, "-w", "-t", table, "-D", ...line.split(" ").slice(1)]);
  }
  await run([`${family}-nft`, "-w", "-t", table, "-F", QUEUE_CHAIN]);
  await run([`${family}-nft`, "-w", "-t", table, "-X", QUEUE_CHAIN]);
}
