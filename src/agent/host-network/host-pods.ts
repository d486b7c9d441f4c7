import { release } from "node:os";
import { groupTag, MOST_HOST_NUMBER } from "../../model/host-pod.ts";
import type { Workload } from "../../model/workload.ts";
import type { Program } from "../../program/program.ts";
import type { Epoch, Inputs } from "../state.ts";
import type { HostPod } from "./border.ts";
import { type HeldGroup, readHeld, writeHeld } from "./held-file.ts";
import { type PodGroup, PodGroups, unifiedTree } from "./pod-groups.ts";
import { type GroupUid, groupUids } from "./static-pods.ts";

/** A pod on the host's network whose control group is known. */
export interface GroupedPod extends PodGroup {
  readonly workloadId: number;
  /** For people: `namespace/name`. */
  readonly name: string;
  /** The pod's number in here (model/host-pod.ts). */
  readonly number: number;
  readonly tag: number;
}

export interface HostPodsOptions {
  /** Where control groups are mounted; null: no such pod is to be held. */
  readonly mount: string | null;
  /** Who mirrors a static pod is believed. Default: no. */
  readonly staticPods?: boolean;
  /** Where it is written down what is held, for the next agent; null: nowhere. */
  readonly folder: string | null;
  /** Some pod has a group now, or none any more. */
  readonly changed: () => void;
}

/** Linux tells the priority of a queued packet since 5.18. */
const LEAST_LINUX = [5, 18] as const;
const SOON_MS = 5;
/** Where watches do not tell. */
const EVERY_MS = 2_000;
/** Held at a time: elements of one change (kernel/set-elements.ts). */
export const MOST_GROUPS = 256;

/**
 * Which pods of the host's network can be told from their node: those whose control group, of version 2, is found by the pod's UID. They become workloads;
 * the others stay what they were, reported (docs/adr/0025-host-network-pods.md).
 */
export class HostPods {
  readonly #options: HostPodsOptions;
  readonly #tree: string | null;
  readonly #groups: PodGroups | null;
  /** Why no pod of the host's network can be held here, one line; null: it can. */
  readonly problem: string | null;
  /** Why they are not held all the same, at the moment (host-rules.ts). */
  rulesProblem: string | null = null;
  /** Some pod has been held: flows of it may bear our marks for a while, whatever policies say by now. */
  everHeld: boolean;
  #held: readonly HeldGroup[];
  readonly #numbers = new Map<string, number>();
  #last = 0;
  #found: ReadonlyMap<string, readonly PodGroup[]> = new Map();
  /** Of the pods that are wanted. */
  #groupUids: ReadonlyMap<string, GroupUid> = new Map();
  #timer: NodeJS.Timeout | null = null;
  readonly #poll: NodeJS.Timeout | null;

  constructor(options: HostPodsOptions) {
    this.#options = options;
    this.#tree = options.mount === null ? null : unifiedTree(options.mount);
    this.problem = problemOf(this.#tree, options.mount);
    this.#held = this.problem === null && options.folder !== null ? readHeld(options.folder) : [];
    this.everHeld = this.#held.length > 0;
    this.#groups = this.problem === null ? new PodGroups(this.#tree!, () => this.#soon()) : null;
    this.#poll = this.#groups === null ? null : setInterval(() => this.#look(), EVERY_MS).unref();
  }

  /** None is to be held, whatever can be. */
  get off(): boolean {
    return this.#options.mount === null;
  }

  /** The tree of control groups; null: no version 2 here. */
  get tree(): string | null {
    return this.#tree;
  }

  /** The groups that are held, at first by agents before this one. */
  get held(): readonly HeldGroup[] {
    return this.#held;
  }

  set held(groups: readonly HeldGroup[]) {
    this.#held = groups;
    if (groups.length > 0) this.everHeld = true;
    if (this.#options.folder !== null) writeHeld(this.#options.folder, groups);
  }

  /** Why policies cannot hold this pod, one line; null: they can. */
  whyNot(uid: string): string | null {
    const missing = `its control group is not found below \`${this.#tree}\``;
    const beyond = `more than ${MOST_GROUPS} control groups of such pods are on this node`;
    const general = this.problem ?? this.rulesProblem;
    if (general !== null) return general;
    const group = this.#groupUids.get(uid) ?? { uid };
    if ("why" in group) return group.why;
    return !this.#found.has(group.uid) ? missing : this.#numbers.has(uid) ? null : beyond;
  }

  /** Those that an agent before this one holds by now: it may have gone on since this one began. */
  heldBefore(): readonly HeldGroup[] {
    if (this.problem === null && this.#options.folder !== null) this.#held = readHeld(this.#options.folder);
    return this.#held;
  }

  levels(): readonly number[] {
    return this.#groups?.levels() ?? [];
  }

  /** `inputs` with those of its pods on the host's network that can be told, as workloads. */
  add(inputs: Inputs): Inputs {
    const { onHost = [] } = inputs;
    this.#groupUids = groupUids(onHost, this.#options.staticPods === true);
    if (this.#groups === null || (onHost.length === 0 && this.#found.size === 0)) return inputs;
    this.#found = this.#groups.read();
    this.#forgetOthers();
    const grouped: GroupedPod[] = [];
    const workloads: Workload[] = [];
    for (const pod of onHost) {
      const groups = this.#groupsOf(pod.uid, this.#found);
      if (groups === undefined || grouped.length + groups.length > MOST_GROUPS) continue;
      const number = this.#numberOf(pod.uid);
      const name = `${pod.namespace}/${pod.name}`;
      for (const group of groups)
        grouped.push({ ...group, workloadId: pod.id, name, number, tag: groupTag(group.group) });
      workloads.push({ ...pod, addresses: [], host: number });
    }
    return { ...inputs, workloads: [...inputs.workloads, ...workloads], grouped, everHeld: this.everHeld };
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#groups?.close();
  }

  #groupsOf(pod: string, found: ReadonlyMap<string, readonly PodGroup[]>): readonly PodGroup[] | undefined {
    const group = this.#groupUids.get(pod);
    return group !== undefined && "uid" in group ? found.get(group.uid) : undefined;
  }

  #numberOf(uid: string): number {
    let number = this.#numbers.get(uid);
    if (number !== undefined) return number;
    const used = new Set(this.#numbers.values());
    do {
      this.#last = this.#last === MOST_HOST_NUMBER ? 1 : this.#last + 1;
      number = this.#last;
    } while (used.has(number));
    this.#numbers.set(uid, number);
    return number;
  }

  #forgetOthers(): void {
    for (const uid of this.#numbers.keys()) if (!this.#groupUids.has(uid)) this.#numbers.delete(uid);
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#look();
    }, SOON_MS);
  }

  #look(): void {
    if (this.#groups === null || this.#groupUids.size === 0) return;
    const now = this.#groups.read();
    const isAnother = (uid: string): boolean =>
      nameOf(this.#groupsOf(uid, now)) !== nameOf(this.#groupsOf(uid, this.#found));
    if ([...this.#groupUids.keys()].some(isAnother)) this.#options.changed();
  }
}

/** Of which some enforcing policy may deny something; the others are as free as the node itself. */
export function heldPods({ grouped = [] }: Inputs, program: Program): GroupedPod[] {
  return grouped.filter(({ workloadId }) => {
    const cls = program.classOf(workloadId);
    return cls >= 0 && (program.selected(cls) || program.bypassed(cls));
  });
}

/** For the lane, which has nothing to do with any of them before one is held. */
export function laneHostPods({ inputs, program }: Epoch): HostPod[] {
  if (inputs.everHeld !== true && heldPods(inputs, program).length === 0) return [];
  return (inputs.grouped ?? []).map(({ tag, number }) => ({ tag, number }));
}

function nameOf(groups: readonly PodGroup[] = []): string {
  return groups.map(({ group }) => group).join();
}

function problemOf(tree: string | null, mount: string | null): string | null {
  if (mount === null) return "that is switched off (`agent.hostNetworkPods` of the chart, `--control-groups off`)";
  if (tree === null) return `no control groups of version 2 at \`${mount}\``;
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const [leastMajor, leastMinor] = LEAST_LINUX;
  if (major < leastMajor || (major === leastMajor && minor < leastMinor))
    return `Linux ${release()} does not tell the priority of queued packets: ${LEAST_LINUX.join(".")} does`;
  return null;
}
