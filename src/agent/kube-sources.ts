import type { ClusterAccess } from "../kube/access.ts";
import type { Change } from "../kube/changes.ts";
import type { KubeObject } from "../kube/object.ts";
import type { Policy } from "../model/policy.ts";
import { IdentityTable } from "../workloads/identity.ts";
import { ClusterWorkloads } from "../workloads/kube-objects.ts";
import { podsOnHost } from "../workloads/objects.ts";
import { TEXT_PACKER } from "../workloads/text-packer.ts";
import { bootID } from "./bypass/bypass-file.ts";
import { ChangePace } from "./change-pace.ts";
import { ClusterConfig, CONFIG_NAME } from "./cluster/config.ts";
import type { Denials } from "./cluster/denials.ts";
import { discover, nodeAddresses } from "./cluster/discovery.ts";
import {
  ClusterDocuments,
  type DocumentResource,
  INSTEAD,
  type ListedObject,
  POLICY_RESOURCES,
  type Refused,
} from "./cluster/documents.ts";
import { ClusterMemory } from "./cluster/memory.ts";
import { type NodeStatus, nodeStatus, publicRangesText } from "./cluster/node-status.ts";
import { nodesOf, RANGES_NAME } from "./cluster/ranges.ts";
import { type ClusterReport, clusterReport } from "./cluster/report.ts";
import type { ResourceName } from "./cluster/resources.ts";
import { whyNotRead } from "./cluster/standard.ts";
import { StatusWriter } from "./cluster/status-writer.ts";
import { isUninstalling } from "./cluster/uninstall.ts";
import { ClusterWatcher, type WatcherListener } from "./cluster/watcher.ts";
import { Coverage, type CoverageSigns } from "./coverage/coverage.ts";
import type { HostPods } from "./host-network/host-pods.ts";
import type { Logger } from "./log.ts";
import { collectGarbage } from "./memory-keeper.ts";
import type { AgentParts } from "./metrics/numbers.ts";
import { whyUnhealthy } from "./metrics/readiness.ts";
import { RuntimeLink } from "./nri/runtime-link.ts";
import { ownAddresses } from "./sources.ts";
import type { Inputs } from "./state.ts";

/** How long an API server may take to answer at the start before what was remembered is enforced. */
const REMEMBERED_AFTER_MS = 2_000;
/** How long what need not be there is waited for. */
const OPTIONAL_MS = 5_000;
const SAY_WAITING_EVERY_MS = 30_000;
const LOOK_EVERY_MS = 50;
const MOST_SAYINGS = 1_000;
/** File of what documents said that now cannot be read. */
const GOOD = "good";

/** What the status of the node is made of. */
export type StatusParts = Pick<AgentParts, "counts" | "lane" | "epoch">;

export interface KubeSourcesOptions {
  readonly access: ClusterAccess;
  /** Name of the Node. */
  readonly node: string;
  /** Sallyport's own namespace. */
  readonly namespace: string;
  /** Socket by which the container runtime tells of pods; null: it is not asked. */
  readonly nri: string | null;
  /** Where what is known is written down. */
  readonly folder: string;
  readonly log: Logger;
  /** Which pods on the host's network can be told from it. */
  readonly hostPods: HostPods;
  readonly changed: (inputs: Inputs) => void;
  /** Called again and again while the agent cannot begin. */
  readonly waiting: () => void;
}

/**
 * The agent's inputs as an API server holds them, with the same face as those from files. What is known stays in force
 * through any outage, and through a restart of the agent in one.
 */
export class KubeSources {
  readonly #options: KubeSourcesOptions;
  readonly #memory: ClusterMemory;
  readonly #watcher: ClusterWatcher;
  readonly #documents = new ClusterDocuments(TEXT_PACKER);
  readonly #config = new ClusterConfig();
  readonly #identities = new IdentityTable();
  readonly #workloads = new ClusterWorkloads(this.#identities);
  /** Keys of objects that may have changed since they were taken; null: any may have. */
  readonly #stale = new Map<DocumentResource, Set<string> | null>(POLICY_RESOURCES.map((name) => [name, null]));
  readonly #coverage: Coverage;
  readonly #runtime: RuntimeLink | null;
  /** Refused objects that were said, by UID and generation; and other problems. */
  #said = new Set<string>();
  readonly #sayings = new Set<string>();
  #saidRanges = "";
  readonly #bootID = bootID();
  #inputs: Inputs | null = null;
  readonly #pace = new ChangePace(() => this.#rebuild());
  #open = false;
  #status: StatusWriter | null = null;
  /** By the list of policies that was made of it. */
  readonly #listings = new WeakMap<readonly Policy[], readonly ListedObject[]>();

  private constructor(options: KubeSourcesOptions) {
    const { access, node, namespace, folder, log } = options;
    this.#options = options;
    this.#memory = new ClusterMemory(folder, node, (problem) =>
      log.warn({ event: "cluster-not-written", problem }, "a restart would not know the cluster"),
    );
    const listener: WatcherListener = {
      hold: (name, packing) => (isDocuments(name) ? this.#documents.reading(name, packing) : packing.hold),
      onChange: (name, changes) => this.#onChange(name, changes),
      onSynced: () => this.#onSynced(),
    };
    this.#coverage = new Coverage({ log, hostPods: options.hostPods, changed: () => this.#status?.changed() });
    const runtime = { log, changed: () => this.#soon(), onConnection: () => this.#status?.changed() };
    this.#runtime = options.nri === null ? null : new RuntimeLink({ socket: options.nri, ...runtime });
    this.#watcher = new ClusterWatcher(access, { node, namespace }, this.#memory, listener, log);
  }

  /**
   * Resolves when enough is known to enforce, which may be never: without the objects nothing can be enforced, and without an
   * API server they are only known from an earlier run. @throws Error when the state folder cannot be trusted
   */
  static async open(options: KubeSourcesOptions): Promise<KubeSources> {
    const sources = new KubeSources(options);
    try {
      sources.#documents.remember(sources.#memory.read(GOOD)?.objects ?? []);
      sources.#watcher.start();
      await sources.#ready();
      // What the lists left behind would be beside what the lane and the readers of the kernel need next: the most there ever is.
      collectGarbage(true);
      return sources;
    } catch (error) {
      void sources.close();
      throw error;
    }
  }

  async #ready(): Promise<void> {
    const { log, waiting } = this.#options;
    const began = performance.now();
    let sayAt = began + SAY_WAITING_EVERY_MS / 6;
    for (;;) {
      const waited = performance.now() - began;
      const settled = this.#watcher.synced || waited > OPTIONAL_MS || !this.#watcher.known(false);
      let problem: string | null = null;
      if (settled && this.#watcher.known(waited > REMEMBERED_AFTER_MS)) {
        problem = this.#build();
        const waits = !this.#watcher.sourcesKnown(waited > REMEMBERED_AFTER_MS) && waited < OPTIONAL_MS;
        if (problem === null && !waits) break;
      }
      if (performance.now() > sayAt) {
        sayAt = performance.now() + SAY_WAITING_EVERY_MS;
        const missing = this.#watcher.missing;
        const why =
          problem ?? this.#watcher.reflectors.find(({ trouble }) => trouble !== null)?.trouble ?? "no answer yet";
        log.warn(
          { event: "waiting-for-cluster", missing, reason: why },
          "nothing can be enforced before the cluster is known",
        );
      }
      waiting();
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    this.#open = true;
    const { rememberedFrom } = this.#watcher;
    if (rememberedFrom === 0) log.info({ event: "cluster-known", milliseconds: Math.round(performance.now() - began) });
    else {
      const since = new Date(rememberedFrom).toISOString();
      log.warn(
        { event: "cluster-remembered", since, missing: this.#watcher.missing },
        "the API server does not answer: what was known before is enforced",
      );
    }
    if (this.#watcher.objects("agentconfigs").get(CONFIG_NAME) === undefined) {
      log.info(
        { event: "no-agent-config" },
        `no AgentConfig \`${CONFIG_NAME}\`: defaults, and what was found in the cluster`,
      );
    }
  }

  get inputs(): Inputs {
    if (this.#inputs === null) throw new Error("the sources are not open");
    return this.#inputs;
  }

  /** What names the workload of an id across restarts of the agent; null: nobody has it. */
  keyOf(id: number): string | null {
    return this.#identities.keyOf(id);
  }

  /** Told of the API server and of what it holds. */
  get report(): ClusterReport {
    const { access, node } = this.#options;
    const { client, reflectors, rememberedFrom } = this.#watcher;
    const seen = { client, reflectors, refused: this.#refused, rememberedFrom, coverage: this.#coverage.report };
    return clusterReport({ node, server: access.server, ...seen, runtime: this.#runtime?.report ?? null });
  }

  /** Objects that cannot be used as they are written. */
  get #refused(): readonly Refused[] {
    const config = this.#config.refused;
    return config === null ? this.#documents.refused : [config, ...this.#documents.refused];
  }

  /**
   * Keeps the status of this node up to date for as long as the sources are open. `parts`: the agent, and whether it is well; `signs`: what it
   * knows of pods that are seen.
   */
  tellStatus(version: string, parts: () => StatusParts, denials: Denials, signs: CoverageSigns): void {
    const { node, namespace, log } = this.#options;
    this.#coverage.signs = signs;
    this.#status = new StatusWriter({
      client: this.#watcher.client,
      node,
      nodeUid: () => this.#watcher.objects("nodes").get(node)?.uid ?? null,
      status: () => this.#nodeStatus(version, parts(), denials),
      nodes: () => nodesOf(this.#watcher.objects("ranges").get(`${namespace}/${RANGES_NAME}`)?.value ?? {}),
      log,
    });
  }

  /** Sallyport is being uninstalled: the rules are to go with the agent. */
  get uninstalling(): boolean {
    return isUninstalling(this.#watcher.objects("ranges").values(), performance.timeOrigin, Date.now());
  }

  /** Another agent enforces on this node, and says so. */
  silence(): void {
    this.#status?.close();
    this.#runtime?.close();
  }

  /** These are the kernel's by now. */
  inForce({ workloads }: Inputs): void {
    this.#runtime?.inForce(workloads);
  }

  /** What was handed over is in force, or could not be. */
  applied(): void {
    this.#status?.changed();
  }

  #nodeStatus(version: string, { counts, lane, epoch }: StatusParts, denials: Denials): NodeStatus {
    const { inputs } = epoch;
    const { sources } = this.#watcher;
    return nodeStatus({
      version,
      notReady: counts.phase === "enforcing" ? (whyUnhealthy({ counts, lane }) ?? whyNotRead(sources)) : counts.phase,
      sources,
      runtime: this.#runtime?.report ?? null,
      uninstalling: this.uninstalling,
      bootID: this.#bootID,
      bypasses: inputs.bypasses ?? [],
      config: this.#config.refused,
      publicRanges: this.#config.publicRanges,
      unapplied: counts.applyFailure,
      listing: this.#listings.get(inputs.policies) ?? [],
      workloads: inputs.workloads,
      systemNamespaces: inputs.config.systemNamespaces,
      notEnforced: this.#coverage.report.notEnforced,
      denials: denials.tell(inputs.workloads, Date.now()),
    });
  }

  /** The watches run from the start. */
  follow(): void {
    // What came while the agent started was built into nothing yet.
    this.#soon();
    this.#runtime?.start();
  }

  /** There is nothing to read again: what changes is told. */
  reload(): boolean {
    return false;
  }

  /** Lets what is known take as little memory as it can. */
  putAway(): void {
    this.#watcher.putAway();
    this.#documents.putAway();
  }

  /** Resolves when what is known is written down. */
  close(): Promise<void> {
    this.#pace.close();
    this.#open = false;
    this.#status?.close();
    this.#coverage.close();
    this.#runtime?.close();
    this.#watcher.close();
    return this.#memory.close();
  }

  #onChange(name: ResourceName, changes: readonly Change[]): void {
    if (isDocuments(name)) {
      const keys = this.#stale.get(name) ?? (this.#stale.has(name) ? null : new Set<string>());
      for (const { object } of changes) keys?.add(object.key);
      this.#stale.set(name, keys);
    }
    this.#soon();
  }

  #onSynced(): void {
    if (!this.#open) return;
    this.#soon();
    if (this.#watcher.synced)
      this.#options.log.info({ event: "cluster-known" }, "the API server has told all there is");
  }

  #soon(): void {
    if (this.#open) this.#pace.changed();
  }

  #rebuild(): void {
    const before = this.#inputs;
    this.#build();
    if (this.#inputs !== null && this.#inputs !== before) this.#options.changed(this.#inputs);
  }

  /** Makes inputs of what is known. @returns why that cannot be done, one line; null: done */
  #build(): string | null {
    const objects = (name: ResourceName): Iterable<KubeObject> => this.#watcher.objects(name).values();
    const { config, problem } = this.#config.read(
      this.#watcher.objects("agentconfigs").get(CONFIG_NAME),
      discover(objects),
    );
    this.#sayPublicRanges();
    if (config !== null) for (const name of this.#watcher.follow(config.sources)) this.#stale.set(name, null);
    for (const [name, keys] of this.#stale) this.#documents.take(name, this.#watcher.objects(name), keys ?? undefined);
    if (this.#stale.size > 0) this.#memory.changed(GOOD, () => this.#documents.remembered);
    this.#stale.clear();
    this.#sayRefused();
    if (config === null) return problem ?? "there is no configuration";
    const namespaces = this.#watcher.objects("namespaces");
    const pods = [...objects("pods")].map(({ value }) => value);
    const told = this.#runtime;
    const snapshot = this.#workloads.read(
      pods,
      (name) => namespaces.get(name),
      (known) => told?.settle(known) ?? known,
    );
    for (const problem of snapshot.problems) this.#sayOnce(problem);
    const here = [...snapshot.workloads, ...snapshot.notEnforced.map(({ pod }) => pod)];
    const concerned = new Set(here.map(({ namespace }) => namespace));
    const { policies, groups, listing, count } = this.#documents.concerning(concerned);
    this.#listings.set(policies, listing);
    this.#coverage.set({
      ...{ workloads: snapshot.workloads, unheld: snapshot.notEnforced, policies },
      ...{ config, nodeAddresses: nodeAddresses(objects) },
    });
    this.#inputs = {
      ...{ policies, count, groups, config },
      workloads: snapshot.workloads,
      // Not Sallyport's own: an agent that waits for its own verdicts would be of no use to anybody.
      onHost: podsOnHost(snapshot).filter(({ namespace }) => namespace !== this.#options.namespace),
      nodeAddresses: [...ownAddresses(), ...snapshot.nodeAddresses, ...nodeAddresses(objects)],
    };
    return null;
  }

  #sayRefused(): void {
    const refused = this.#refused;
    const now = new Set(refused.map(({ uid, generation }) => `${uid}/${generation}`));
    for (const one of refused) {
      const { kind, key, uid, generation, reason, problem, instead } = one;
      if (this.#said.has(`${uid}/${generation}`)) continue;
      this.#options.log.error(
        { event: "object-refused", kind, name: key, generation, reason, problem, instead },
        INSTEAD[instead],
      );
    }
    this.#said = now;
  }

  #sayPublicRanges(): void {
    const ranges = this.#config.publicRanges;
    const said = ranges.join();
    if (said === this.#saidRanges) return;
    this.#saidRanges = said;
    if (ranges.length === 0) return;
    const problem = publicRangesText(ranges);
    this.#options.log.error({ event: "public-pod-ranges", problem }, "what goes there is judged as egress");
  }

  #sayOnce(problem: string): void {
    if (this.#sayings.has(problem)) return;
    if (this.#sayings.size >= MOST_SAYINGS) this.#sayings.clear();
    this.#sayings.add(problem);
    this.#options.log.warn({ event: "workload-left-out", problem });
  }
}

function isDocuments(name: ResourceName): name is DocumentResource {
  return (POLICY_RESOURCES as readonly ResourceName[]).includes(name);
}
