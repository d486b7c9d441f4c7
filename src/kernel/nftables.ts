import { createHash } from "node:crypto";
import { NetlinkSocket } from "./netlink.ts";
import { AttributeReader, MessageWriter, NLM_F_REQUEST, netfilterType, readU32 } from "./netlink-message.ts";
import { holdsPodSet, POD_SETS, podSetsChange } from "./pod-sets.ts";
import { mustRun, type RunProgram, runProgram } from "./program.ts";
import {
  type QueueMethod,
  type RulesetSpec,
  renderRefill,
  renderRemoval,
  renderRuleset,
  TABLE,
  TABLE_NAME,
} from "./ruleset.ts";
import { droppedSet } from "./ruleset-police.ts";
import { type RulesetSets, renderSetUpdate } from "./ruleset-sets.ts";
import { type SetChange, SetElements } from "./set-elements.ts";
import { installQueueRules, queueRulesFingerprint, removeQueueRules } from "./xtables.ts";

/**
 * Finds out how packets can be queued here: by nft itself, else by the xtables target. Changes nothing. Throws an
 * Error that says what is missing where neither works.
 */
export async function probeQueueMethod(run: RunProgram = runProgram): Promise<QueueMethod> {
  const fallback = run(["iptables-nft", "--version"]).catch(() => null);
  const native = await run(["nft", "-c", "-f", "-"], PROBE);
  if (native.status === 0) return "native";
  const there = await fallback;
  if (there?.status === 0) return "xtables";
  throw new Error(
    "this kernel has no nft `queue` (CONFIG_NFT_QUEUE) and `iptables-nft` is not installed: install `iptables`",
  );
}

/**
 * No base chain: even `nft -c` would add its hook and take it away again, and with a hook that goes the kernel drops every packet
 * that waits in a queue, also in those of an agent that enforces meanwhile.
 */
const PROBE = `table inet sallyport_probe {
  chain probe {
    queue num 0
  }
}
`;

/** No generation of the kernel's, which are unsigned. */
const UNSEEN = -1;

interface CountedElement {
  readonly elem: { readonly val: string; readonly counter: { readonly packets: number } };
}

/**
 * The ruleset of this network namespace. Calls are not to overlap: the caller waits for one before the next.
 * Installing: rules that queue come first, then the table that asks. Between the two nothing is asked. A table without
 * them, or without a listener, drops what would be asked. So at no moment is more open than before.
 */
export class Ruleset {
  private readonly run: RunProgram;
  private readonly generations = new Generations();
  private readonly elements = new SetElements(TABLE_NAME);
  private installed: RulesetSpec | null = null;
  private fingerprint = "";
  /** At which the rules were as installed; UNSEEN: at none. */
  private generation = UNSEEN;

  constructor(run: RunProgram = runProgram) {
    this.run = run;
  }

  /** Installs or replaces all of it. Throws an Error with nft's first line; what was there before then stays. */
  async install(spec: RulesetSpec): Promise<void> {
    const text = renderRuleset(spec);
    if (spec.method === "xtables") await installQueueRules(this.run, spec);
    await mustRun(this.run, ["nft", "-f", "-"], text);
    if (spec.method === "native") await removeQueueRules(this.run);
    this.installed = spec;
    await this.remember();
  }

  /**
   * As `install` over a table that is there, but no packet that waits in a queue is lost. Replaces all of it where what is
   * there has another shape.
   */
  async refill(spec: RulesetSpec): Promise<void> {
    if (spec.method === "xtables") await installQueueRules(this.run, spec);
    const result = await this.run(["nft", "-f", "-"], renderRefill(spec));
    if (result.status !== 0) return this.install(spec);
    this.installed = spec;
    await this.remember();
  }

  /** Brings the sets up to date in one transaction; the rules stay. Installs everything where that fails. */
  async updateSets(sets: RulesetSets): Promise<void> {
    if (this.installed === null) throw new Error("the ruleset is not installed");
    const spec = { ...this.installed, sets };
    const change = podSetsChange(this.installed.sets, sets);
    if (change !== null) return this.updatePodSets(spec, change);
    const text = renderSetUpdate(TABLE, this.installed.sets, sets);
    // A change by somebody else before ours would hide behind it.
    const intact = await this.verify();
    const result = intact ? await this.run(["nft", "-f", "-"], text) : null;
    if (result?.status !== 0) return this.install(spec);
    this.installed = spec;
    await this.remember();
  }

  /**
   * Only pods have come or gone, and the fingerprint stays: so a change by somebody else before ours does not hide behind it, and nobody has to look for one
   * first. It is found when the generation is not the one that ours alone would have made.
   */
  private async updatePodSets(spec: RulesetSpec, change: Extract<SetChange, { kind: "update" }>): Promise<void> {
    if (change.sets.length > 0) {
      const before = this.generations.current();
      if (this.elements.change(change) !== 0) return this.install(spec);
      if (before === this.generation && this.generations.current() === before + 1) this.generation = before + 1;
    }
    this.installed = spec;
  }

  /**
   * True while table, chains, rules, sets and queueing rules are as installed. One netlink message while nobody has
   * changed any rule of this namespace; a full comparison after somebody has.
   */
  async verify(): Promise<boolean> {
    if (this.installed === null) return false;
    const generation = this.generations.current();
    if (generation === this.generation) return true;
    const { fingerprint, podSetsHold } = await this.look();
    if (fingerprint !== this.fingerprint || !podSetsHold) return false;
    this.generation = generation;
    return true;
  }

  /** Verifies, and installs again where something is missing. True when it had to. */
  async restore(): Promise<boolean> {
    const spec = this.installed;
    if (spec === null || (await this.verify())) return false;
    // Everything may be open, so the table goes first: without the rules that queue it drops what it would ask.
    await mustRun(this.run, ["nft", "-f", "-"], renderRuleset(spec));
    await this.install(spec);
    return true;
  }

  /** Removes everything: from here on nothing is enforced. The table goes first, so that nothing asks in vain. */
  async remove(): Promise<void> {
    this.installed = null;
    await mustRun(this.run, ["nft", "-f", "-"], renderRemoval());
    await removeQueueRules(this.run);
  }

  /** The mark mask of the rules that are there, whoever installed them; null: there are none. */
  async installedMask(): Promise<number | null> {
    const result = await this.run(["nft", "-j", "list", "chain", ...TABLE.split(" "), "prerouting_answer"]);
    if (result.status !== 0) return null;
    // Its only rule: `meta mark and MASK != 0 ...`.
    const [, mask] = /"&":\s*\[\s*\{\s*"meta":\s*\{\s*"key":\s*"mark"\s*\}\s*\},\s*(\d+)/.exec(result.stdout) ?? [];
    return mask === undefined ? null : Number(mask);
  }

  /** Packets by named counter of the table (`spoofed`, `unanswered`, ...); empty where the table is gone. */
  async counters(): Promise<Map<string, number>> {
    const result = await this.run(["nft", "-j", "list", "counters", "table", ...TABLE.split(" ")]);
    const counters = new Map<string, number>();
    if (result.status !== 0) return counters;
    const listed = JSON.parse(result.stdout) as { nftables: { counter?: { name: string; packets: number } }[] };
    for (const { counter } of listed.nftables) if (counter) counters.set(counter.name, counter.packets);
    return counters;
  }

  /** Packets dropped for a flood since the table was installed, by address of the pod; empty where the table is gone. */
  async dropped(): Promise<Map<string, number>> {
    const listings = (["4", "6"] as const).map((family) =>
      this.run(["nft", "-j", "list", "set", ...TABLE.split(" "), droppedSet(family)]),
    );
    const dropped = new Map<string, number>();
    for (const { status, stdout } of await Promise.all(listings)) {
      if (status !== 0) continue;
      const listed = JSON.parse(stdout) as { nftables: { set?: { elem?: CountedElement[] } }[] };
      for (const { elem } of listed.nftables.flatMap(({ set }) => set?.elem ?? []))
        dropped.set(elem.val, elem.counter.packets);
    }
    return dropped;
  }

  close(): void {
    this.generations.close();
    this.elements.close();
  }

  private async remember(): Promise<void> {
    // Read before the listing: a change in between shows as a newer generation and is compared.
    const generation = this.generations.current();
    const { fingerprint, podSetsHold } = await this.look();
    this.fingerprint = fingerprint;
    // Somebody may have flushed all of it by now: what is not ours any more must not be taken for it.
    this.generation = podSetsHold ? generation : UNSEEN;
  }

  private async look(): Promise<{ readonly fingerprint: string; readonly podSetsHold: boolean }> {
    const [table, rules] = await Promise.all([
      this.run(["nft", "-j", "-s", "list", "table", ...TABLE.split(" ")]),
      this.installed?.method === "xtables" ? queueRulesFingerprint(this.run, this.installed.hostPods) : "",
    ]);
    const listed = table.status === 0 ? table.stdout : null;
    const content = listed === null ? "absent" : canonicalTable(listed);
    const sets = this.installed?.sets;
    return {
      fingerprint: createHash("sha256").update(content).update(rules).digest("hex"),
      podSetsHold: listed !== null && sets !== undefined && holdPodSets(listed, sets),
    };
  }
}

interface ListedTable {
  readonly nftables: readonly { metainfo?: unknown; set?: { name?: string; flags?: string[]; elem?: unknown[] } }[];
}

/** Whether the sets of pods hold what they should, in nft's JSON listing. */
function holdPodSets(json: string, sets: RulesetSets): boolean {
  const listed = JSON.parse(json) as ListedTable;
  return listed.nftables.every(({ set }) => set?.name === undefined || holdsPodSet(sets, set.name, set.elem ?? []));
}

/**
 * nft's JSON listing without what changes by itself: handles, the order of hashed elements, the elements of sets with
 * timeouts, which come and go while the rules stay, and those of pods (pod-sets.ts).
 */
export function canonicalTable(json: string): string {
  const listed = JSON.parse(json) as ListedTable;
  const lines: string[] = [];
  for (const item of listed.nftables) {
    if (item.metainfo !== undefined) continue;
    if (item.set?.flags?.includes("timeout") || POD_SETS.includes(item.set?.name ?? "")) delete item.set?.elem;
    if (item.set?.elem) item.set.elem = item.set.elem.map((element) => JSON.stringify(element)).sort();
    lines.push(
      JSON.stringify(item, (key, value) =>
        key === "handle" || key === "packets" || key === "bytes" ? undefined : value,
      ),
    );
  }
  return lines.join("\n");
}

const SUBSYSTEM = 10;
const MESSAGE_NEW_GENERATION = 15;
const MESSAGE_GET_GENERATION = 16;
const ATTRIBUTE_ID = 1;

/** The number that the kernel raises with every committed change of any rule in this namespace. */
export class Generations {
  private readonly socket = new NetlinkSocket(8192);

  current(): number {
    const sequence = this.socket.nextSequence();
    const writer = new MessageWriter(64);
    writer.begin(netfilterType(SUBSYSTEM, MESSAGE_GET_GENERATION), NLM_F_REQUEST, sequence, 0, 0).end();
    let generation = -1;
    this.socket.request(
      "read ruleset generation",
      writer.message(),
      sequence,
      (data, message) => {
        if (message.type !== netfilterType(SUBSYSTEM, MESSAGE_NEW_GENERATION)) return;
        const reader = new AttributeReader(data, message.start + 4, message.end);
        while (reader.next()) if (reader.type === ATTRIBUTE_ID) generation = readU32(data, reader.start, reader.end);
      },
      true,
    );
    return generation;
  }

  close(): void {
    this.socket.close();
  }
}
