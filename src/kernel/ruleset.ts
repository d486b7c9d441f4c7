import { createHash } from "node:crypto";
import { ANSWER, type Generation, STATE } from "../model/verdict.ts";
import { ASKED, inPlace, type MarkLayout, markLayout, STATE_BITS } from "./marks.ts";
import { answerChains } from "./ruleset-answer.ts";
import { ballastChain, ballastRule } from "./ruleset-ballast.ts";
import { CROWDING_COUNTERS, crowdingChains, crowdingSets } from "./ruleset-crowding.ts";
import { hostChains, hostQueryAnswer, hostQueryRule, hostReplyRule, hostSets } from "./ruleset-host.ts";
import { judgeChains } from "./ruleset-judge.ts";
import { POLICE_COUNTERS, policeChains, policeSets } from "./ruleset-police.ts";
import { ASIDE_SET, bypassClock, NO_SETS, type RulesetSets, renderSets, setNames } from "./ruleset-sets.ts";
import { TOLD_COUNTER } from "./ruleset-told.ts";

export const TABLE_NAME = "sallyport";
export const TABLE = `inet ${TABLE_NAME}`;

/** How a question reaches the agent: nft's own `queue`, or the xtables target behind our chains. */
export type QueueMethod = "native" | "xtables";

export interface RulesetSpec {
  /** Six contiguous bits of packet mark and conntrack mark. */
  readonly markMask: number;
  readonly method: QueueMethod;
  /** First of the NFQUEUE numbers: see `queuesOf`. */
  readonly queueNumber: number;
  /** Of the agent whose ruleset this is. */
  readonly generation: Generation;
  /** The agent of the other generation listens too, for the flows that it follows (docs/adr/0008-hand-over.md). */
  readonly other: boolean;
  readonly failMode: "Closed" | "Open";
  /** Names of interfaces of which each leads to one pod of this node, known or not; a `*` at the end stands for any end. */
  readonly podLinks: readonly string[];
  readonly sets: RulesetSets;
  /** Some pod of the host's network is held: rules for it are there (ruleset-host.ts). Default: no. */
  readonly hostPods?: boolean;
}

export interface QueuePair {
  /** For isolated and not yet known workloads. */
  readonly strict: number;
  /** For observed workloads: without a listener their packets pass. */
  readonly observed: number;
}

/** The NFQUEUE numbers of a generation: two after those of the one before. */
export function queuesOf(queueNumber: number, generation: Generation): QueuePair {
  const strict = queueNumber + 2 * generation;
  return { strict, observed: strict + 1 };
}

/** The NFLOG group in which an agent is told of the flows that the kernel opened. A number space of its own, apart from the queues'. */
export function logGroupOf(queueNumber: number, generation: Generation): number {
  return queueNumber + generation;
}

export function otherGeneration(generation: Generation): Generation {
  return generation === 0 ? 1 : 0;
}

/** The words of the ruleset, as nft text. */
export interface Vocabulary {
  readonly spec: RulesetSpec;
  readonly layout: MarkLayout;
  /** `0x3f`: our bits; and all the others. */
  readonly mask: string;
  readonly others: string;
  /** Six bits, in place. */
  word(value: number): string;
  /** Statement: the packet mark gains these bits. */
  gain(word: number): string;
  /** Statement: the packet mark loses our bits. */
  readonly clear: string;
  /** Statement: conntrack remembers this state. */
  remember(state: number): string;
  /** Rule: while the hooks stand aside everything passes. */
  readonly standAside: string;
  /** Match: the masked state of the conntrack entry. False on untracked packets. */
  readonly state: string;
  /** One rule for each set of pod addresses, of both families, and each link to pods: `verdict` when the address is a pod's. */
  pods(field: "saddr" | "daddr", verdict: string): string;
  /** The same for pods that are not to be held back: observed ones, and those that somebody let pass for a while. */
  unheld(field: "saddr" | "daddr", verdict: string): string;
}

function vocabulary(spec: RulesetSpec): Vocabulary {
  const layout = markLayout(spec.markMask);
  const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
  const word = (value: number): string => hex(inPlace(layout, value));
  const mask = hex(layout.mask);
  const others = hex(~layout.mask);
  return {
    spec,
    layout,
    mask,
    others,
    word,
    gain: (value) => `meta mark set meta mark or ${word(value)}`,
    clear: `meta mark set meta mark and ${others}`,
    remember: (state) =>
      state === STATE.none
        ? `ct mark set ct mark and ${others}`
        : `ct mark set ct mark and ${others} or ${word(state)}`,
    standAside: `meta nfproto @${ASIDE_SET} counter name ${ASIDE_COUNTER} accept`,
    state: `ct mark and ${word(STATE_BITS)}`,
    pods: (field, verdict) =>
      [
        `ip ${field} @pod_ranges4 ${verdict}`,
        `ip ${field} @workloads4 ${verdict}`,
        `ip6 ${field} @pod_ranges6 ${verdict}`,
        `ip6 ${field} @workloads6 ${verdict}`,
        ...(field === "saddr" ? spec.podLinks.map((name) => `iifname "${name}" ${verdict}`) : []),
      ].join("\n"),
    unheld: (field, verdict) =>
      [
        `ip ${field} @observed4 ${verdict}`,
        `ip ${field} @bypass4 ${verdict}`,
        `ip6 ${field} @observed6 ${verdict}`,
        `ip6 ${field} @bypass6 ${verdict}`,
      ].join("\n"),
  };
}

/**
 * The whole table as input of `nft -f -`: one transaction that replaces what is there, so that no packet ever meets
 * half of it. Every hook has two chains with the agent between them:
 *
 *     -160  <hook>_question   clears our mark bits, judges, marks what the agent must see as a question
 *     -150                    xtables mangle: NFQUEUE on that mark (only where nft has no `queue` of its own)
 *     -140  <hook>_answer     turns the agent's answer into conntrack state and a verdict; nobody answered: drop
 *
 * Traffic is judged in forward, input and output, after translation; DNS questions over UDP in prerouting, before it
 * (docs/adr/0005): there they bear the address that the pod asked, from which a denial must come.
 *
 * Throws a RangeError when the mask is not six bits in a row.
 */
export function renderRuleset(spec: RulesetSpec, now = bypassClock()): string {
  const words = vocabulary(spec);
  const body = [
    renderSets(spec.sets, now),
    policeSets(),
    crowdingSets(),
    hostSets(words),
    counters(),
    `chain ${shapeChain(words)} {\n}`,
    hookChains(words),
    judgeChains(words),
    policeChains(words),
    crowdingChains(),
    hostChains(words),
    answerChains(words),
    ballastChain(words),
  ];
  return `add table ${TABLE}\ndelete table ${TABLE}\ntable ${TABLE} {\n${layOut(body.join("\n"))}}\n`;
}

/**
 * An empty chain that nothing leads to; its name says what shape the sets and hooks of the table have, for `renderRefill`. The same for all
 * rulesets of this program.
 */
function shapeChain(w: Vocabulary): string {
  const whole = vocabulary({ ...w.spec, hostPods: true });
  const hooks = `${hookChains(whole)}${hostChains(whole)}`.match(/^chain .*\ntype .*$/gm) ?? [];
  const shape = [renderSets(NO_SETS, 0), policeSets(), crowdingSets(), hostSets(whole), ...hooks].join("\n");
  return `shape_${createHash("sha256").update(shape).digest("hex").slice(0, 16)}`;
}

/**
 * The same table as input of `nft -f -`, put over one that is there: rules and sets are emptied and filled in one transaction, but
 * no hook goes. It is refused where what is there has another shape: the chain that says so is missing then. That is not left to the
 * kernel, for not every one compares a set that is declared again with the one that is there: before Linux 6.2 type, flags and
 * `timeout` of the old one silently stay, and what an older agent let live for longer would.
 *
 * A hook that goes does harm in two ways:
 *
 * - The kernel drops every packet that waits in any queue of the namespace, and a client would send its SYN again after a second.
 * - A packet on its way to a queue at that moment is not dropped. It remembers the place of its hook in the list, and goes on
 *   behind that place when it is answered, in a list that has become shorter: past the chain that would have refused it.
 */
export function renderRefill(spec: RulesetSpec, now = bypassClock()): string {
  const whole = renderRuleset(spec, now);
  const sets = setNames(spec.sets).map((name) => `flush set ${TABLE} ${name}\n`);
  const shape = `flush chain ${TABLE} ${shapeChain(vocabulary(spec))}\n`;
  return `flush table ${TABLE}\n${shape}${sets.join("")}${whole.slice(whole.indexOf(`table ${TABLE} {`))}`;
}

/** In one transaction with nothing else: what the table held is open from here on. */
export function renderRemoval(): string {
  return `add table ${TABLE}\ndelete table ${TABLE}\n`;
}

export const COUNTERS = [
  "spoofed",
  "foreign",
  "invalid",
  "unanswered",
  "unknown_answer",
  "rejected",
  "cut",
  "mid_flow",
  ...POLICE_COUNTERS,
  ...CROWDING_COUNTERS,
] as const;

/** Match: what opens a TCP connection. */
export const SYN = "tcp flags & (syn | ack) == syn";

/** Counts flows that the kernel opened, each of them logged. */
export const CARRIED_COUNTER = "carried";

/** Counts packets that passed while everything stood aside. */
export const ASIDE_COUNTER = "stood_aside";

function counters(): string {
  return [...COUNTERS, CARRIED_COUNTER, TOLD_COUNTER, ASIDE_COUNTER].map((name) => `counter ${name} { }`).join("\n");
}

const NEIGHBOUR_DISCOVERY =
  "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect, mld2-listener-report } accept";

/** What only routers say, and no pod may say to the node. */
const FOR_ROUTERS = "icmpv6 type { nd-router-advert, nd-redirect } counter name foreign drop";

/**
 * Pods on one bridge have to find each other. Where bridged frames cross the IP hooks too (br_netfilter) they are known by their hop limit, which
 * the node takes one from whatever it routes, or by their scope. Pods have no business with the advertisements of routers.
 */
const ON_ONE_BRIDGE = [
  "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
  "ip6 daddr ff02::/16 icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept",
].join("\n");

/**
 * What is injected towards a client is not tracked: where the flow has no entry (a question that was dropped) or another
 * shape (masqueraded), it would open an entry of its own, in which the pod's next packet passes as a reply.
 *
 * What the kernel itself says about a flow (its resets and ICMP errors) is `related` in the output hook.
 *
 * A client on the node is known as such only after its own DNAT (-100): output_inbound remembers it.
 *
 * The hooks stand aside behind what clears our bits, so that the answering chain has nothing to do either.
 */
function hookChains(w: Vocabulary): string {
  const ours = `meta mark and ${w.mask}`;
  const injected = `${ours} { ${w.word(ANSWER.injected)}, ${w.word(ANSWER.injectedUntracked)} }`;
  const asked = `${ours} == ${w.word(ASKED)} ${w.clear} accept`;
  return `
chain output_raw {
type filter hook output priority -300; policy accept;
${ours} { ${w.word(ANSWER.injectedUntracked)}, ${w.word(ANSWER.ballast)} } notrack
}
chain prerouting_question {
type filter hook prerouting priority -160; policy accept;
${ours} != 0 ${w.clear}
udp dport 53 goto query
}
chain forward_question {
type filter hook forward priority -160; policy accept;
${ours} != 0 jump marked
ct state established ${w.state} vmap { ${w.word(STATE.allowed)} : jump carried_flow, ${w.word(STATE.http)} : jump carried_reply }
${w.standAside}
meta l4proto icmpv6 jump on_one_bridge
goto judge_arrival
}
chain marked {
${asked}
${w.clear}
}
chain on_one_bridge {
${ON_ONE_BRIDGE}
}
chain input_question {
type filter hook input priority -160; policy accept;
${ours} != 0 jump marked
iif lo accept
${w.standAside}
${["@pod_interfaces", ...w.spec.podLinks.map((name) => `"${name}"`)].map((from) => `iifname ${from} ${FOR_ROUTERS}`).join("\n")}
${NEIGHBOUR_DISCOVERY}
${hostReplyRule(w)}
goto judge_arrival
}
chain output_question {
type filter hook output priority -160; policy accept;
${injected} accept
${ballastRule(w)}
${ours} != 0 ${w.clear}
oif lo accept
${w.standAside}
${hostQueryRule(w)}
ct state related accept
${NEIGHBOUR_DISCOVERY}
ct direction reply ${w.state} == ${w.word(STATE.rejected)} counter name cut drop
goto judge
}
chain prerouting_answer {
type filter hook prerouting priority -140; policy accept;
${ours} != 0 goto answer_query
}
chain forward_answer {
type filter hook forward priority -140; policy accept;
${ours} != 0 goto answer
}
chain input_answer {
type filter hook input priority -140; policy accept;
${ours} != 0 goto answer
}
chain output_answer {
type filter hook output priority -140; policy accept;
${injected} ${w.clear} accept
ct direction reply ${ours} == ${w.word(ANSWER.reject)} goto answer_cut
${hostQueryAnswer(w)}
${ours} != 0 goto answer
}
chain output_inbound {
type filter hook output priority -90; policy accept;
ct direction original ${w.state} == 0 jump node_opens
}
chain node_opens {
${w.pods("saddr", "return")}
${w.pods("daddr", "goto remember_inbound")}
}
chain remember_inbound {
meta l4proto tcp tcp flags & (syn | ack) != syn return
${w.remember(STATE.inbound)}
}`;
}

/** Two spaces for each level; nft does not care, people do. */
function layOut(text: string): string {
  let depth = 1;
  let result = "";
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    if (line === "") continue;
    if (line === "}") depth--;
    result += `${"  ".repeat(depth)}${line}\n`;
    if (line.endsWith("{")) depth++;
  }
  return result;
}
