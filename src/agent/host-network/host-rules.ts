import { HostTable } from "../../kernel/host-table.ts";
import { errnoName } from "../../kernel/libc.ts";
import { Generations } from "../../kernel/nftables.ts";
import type { Logger } from "../log.ts";
import type { HeldGroup } from "./held-file.ts";
import { type GroupedPod, type HostPods, MOST_GROUPS } from "./host-pods.ts";
import { HostRelease } from "./host-release.ts";
import { isOwnTree } from "./pod-groups.ts";

/** In one line of the log. */
const MOST_NAMED = 20;
/** What only somebody in the node's own control group namespace can mend. */
const FOREIGN =
  "the table `sallyport_host` is missing, and this agent has a control group namespace of its own: delete the agent's pod, its init container makes the table";

/** Keeps what tells pods of the host's network from it. Calls are not to overlap, and none throws but `remove`. */
export interface HostKeeper {
  /** These are held, of those that are known. */
  hold(held: readonly GroupedPod[], known: readonly GroupedPod[]): Promise<void>;
  /** Several times a second. */
  verify(): Promise<void>;
  /** Takes it away for good. @throws Error with nft's first line */
  remove(): Promise<void>;
  close(): void;
}

/**
 * Keeps the table that tells pods of the host's network apart (kernel/host-table.ts) as it has to be: made where it is not there, and each held pod in it. It
 * stays when the agent goes, so that those pods stay as closed as the others. Calls are not to overlap.
 */
export class HostRules implements HostKeeper {
  readonly #table = new HostTable();
  readonly #generations = new Generations();
  readonly #pods: HostPods;
  readonly #log: Logger;
  /** Some agent may have left pods in it. */
  #settled = false;
  #first = true;
  #generation = -1;

  constructor(pods: HostPods, log: Logger) {
    this.#pods = pods;
    this.#log = log;
  }

  /**
   * Holds these pods, and those of before that are not among `known` any more, by agents before this one too: the object of a pod may be gone while its
   * processes still run, and a socket that was handed to another process stays its group's when the group is gone. The kernel never gives a number of
   * a group to another. Never throws: what fails is said, and tried again by `verify`.
   */
  async hold(held: readonly GroupedPod[], known: readonly GroupedPod[]): Promise<void> {
    if (this.#first) this.#begin(held);
    this.#first = false;
    const groups = new Set(known.map(({ group }) => group));
    // Those that went last come first.
    const left = this.#pods.held.filter(({ group }) => !groups.has(group));
    const pods = [...held, ...left].slice(0, MOST_GROUPS);
    if (this.#settled && nameOf(pods) === nameOf(this.#pods.held) && this.#pods.rulesProblem === null) return;
    this.#note(pods);
    await this.#put();
    if (this.#settled && pods.length > 0) this.#log.info({ event: "host-pods-held", pods: pods.length });
  }

  /** Puts everything back where somebody has changed rules. A glance while nobody has. */
  async verify(): Promise<void> {
    if (this.#pods.held.length === 0 && this.#settled) return;
    if (this.#generations.current() !== this.#generation) await this.#put();
  }

  async remove(): Promise<void> {
    this.#note([]);
    await this.#table.remove();
  }

  close(): void {
    this.#table.close();
    this.#generations.close();
  }

  /** Nobody held a pod that started while no agent ran, or before the first: that is said. */
  #begin(held: readonly GroupedPod[]): void {
    const before = new Set(this.#pods.heldBefore().map(({ group }) => group));
    const open = held.filter(({ group }) => !before.has(group)).map(({ name }) => name);
    if (open.length === 0) return;
    const words = "pods on the host's network are held from now on; what they sent before was not decided";
    this.#log.warn({ event: "host-pods-were-open", count: open.length, pods: open.slice(0, MOST_NAMED) }, words);
  }

  #note(groups: readonly HeldGroup[]): void {
    try {
      this.#pods.held = groups;
    } catch (error) {
      // What is held is held all the same.
      this.#log.error(
        { event: "host-pods-unnoted", error: String(error) },
        "what is held is not written down for the next agent",
      );
    }
  }

  async #put(): Promise<void> {
    const problem = await this.#try().catch((error: unknown) => String(error));
    this.#settled = problem === null;
    if (problem === this.#pods.rulesProblem) return;
    this.#pods.rulesProblem = problem;
    if (problem === null) this.#log.info({ event: "host-pods-mended", pods: this.#pods.held.length });
    else
      this.#log.error({ event: "host-pods-not-held", problem }, "pods on the host's network are not held by policies");
  }

  /** @returns what is wrong, one line; null: all is as it has to be */
  async #try(): Promise<string | null> {
    // What somebody changes from here on is looked at again.
    this.#generation = this.#generations.current();
    const levels = this.#pods.levels();
    const there = await this.#table.isThere(levels);
    if (this.#pods.held.length === 0 && !there) return null;
    if (!there) {
      if (levels.length === 0 || this.#pods.tree === null) return "no control groups of pods are found";
      if (!isOwnTree(this.#pods.tree)) return FOREIGN;
      await this.#table.make(levels);
    }
    const before = this.#generations.current();
    const error = this.#table.hold(this.#pods.held);
    // Somebody else's change in between shows as one more.
    this.#generation = this.#generations.current() === before + 1 ? before + 1 : -1;
    return error === 0 ? null : `their control groups cannot be told to the kernel: ${errnoName(error)}`;
  }
}

/** Null: nothing tells pods on the host's network from it here. */
export function hostRules(pods: HostPods | null, log: Logger): HostKeeper | null {
  if (pods?.off === true) return new HostRelease(pods, log);
  return pods?.problem === null ? new HostRules(pods, log) : null;
}

function nameOf(pods: readonly HeldGroup[]): string {
  return pods.map(({ group }) => group).join();
}

/** Makes the table, from within the node's control group namespace. @throws Error one line for the user */
export async function makeHostTable(pods: Pick<HostPods, "problem" | "levels" | "tree">): Promise<void> {
  if (pods.problem !== null) throw new Error(pods.problem);
  const levels = pods.levels();
  if (levels.length === 0) throw new Error(`no control groups of pods below \`${pods.tree}\`: is a kubelet here?`);
  if (!isOwnTree(pods.tree!))
    throw new Error("this process has a control group namespace of its own: run it in that of the node (privileged)");
  const table = new HostTable();
  try {
    if (!(await table.isThere(levels))) await table.make(levels);
  } finally {
    table.close();
  }
}
