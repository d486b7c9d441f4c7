import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { SERVICES } from "./addresses.ts";
import { caBundle } from "./certificates.ts";
import { knotSocket } from "./dns.ts";
import { type ConfigOverrides, configText, workloadsText } from "./documents.ts";
import {
  type LabSpec,
  type Layout,
  layoutOf,
  type NodeLayout,
  type PodLayout,
  type PodSpec,
  podOf,
  withPod,
} from "./layout.ts";
import { NETNS_ETC, outsideNetns } from "./names.ts";
import { buildNetwork, connectPod, disconnectPod, loadRules } from "./network.ts";
import { type Arrival, arrivals, forgetArrivals, forgetWebRequests, type WebRequest, webRequests } from "./observe.ts";
import { type OrphanWatch, watchOrphan } from "./orphan-watch.ts";
import { type ExecOptions, type ExecResult, inNetns, inNetworkOnly, must, run, together } from "./process.ts";
import { missingRequirement } from "./requirements.ts";
import { prepareServers, startServers } from "./servers.ts";
import { outsideRules, serviceRules } from "./services.ts";
import { sshClientConfig } from "./shell-server.ts";
import { claim, type LabState, labDirectory, loadState, saveState, writeWhole } from "./state.ts";
import { endProcesses, removeLab } from "./teardown.ts";

/** Where a command runs: `NAMESPACE/POD`, `node1`, `outside`. */
export type Target = string;

/** A lab that is up. Made by `createLab` or `openLab`; several processes may hold the same one, one of them changes it. */
export class Lab {
  #state: LabState;
  readonly #watch: OrphanWatch | null;

  constructor(state: LabState, watch: OrphanWatch | null = null) {
    this.#state = state;
    this.#watch = watch;
  }

  get name(): string {
    return this.layout.name;
  }

  get layout(): Layout {
    return this.#state.layout;
  }

  get directory(): string {
    return labDirectory(this.name);
  }

  /** The file of pods and namespaces; written anew whenever they change. */
  get workloadsPath(): string {
    return `${this.directory}/workloads.yaml`;
  }

  /** What clients in the lab trust, as `lab.exec` gives it to them. */
  get environment(): Readonly<Record<string, string>> {
    return { CURL_CA_BUNDLE: caBundle(this.directory), SSL_CERT_FILE: caBundle(this.directory) };
  }

  pod(target: Target): PodLayout {
    return podOf(this.layout, target);
  }

  /** Nodes count from 1. */
  node(index: number): NodeLayout {
    const node = this.layout.nodes.find((other) => other.index === index);
    if (node === undefined)
      throw new Error(`lab \`${this.name}\` has no node ${index}: it has ${this.layout.nodes.length}`);
    return node;
  }

  /** The network namespace of a target. @throws Error one line for the user */
  netns(target: Target): string {
    if (target === "outside") return outsideNetns(this.name);
    const node = this.layout.nodes.find((other) => other.name === target);
    return node?.netns ?? this.pod(target).netns;
  }

  /** Runs a program in a pod, on a node or outside, to its end. Rejects only if it cannot be started. */
  exec(target: Target, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return run(inNetns(this.netns(target), argv), { ...options, env: { ...this.environment, ...options.env } });
  }

  /** Starts a program in a target and leaves it running; it ends at the latest when the lab does. */
  spawn(target: Target, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [program = "", ...rest] = inNetns(this.netns(target), argv);
    return spawn(program, rest, { ...options, env: { ...process.env, ...this.environment, ...options.env } });
  }

  /** What arrived outside, by destination. */
  outsideSaw(): Promise<readonly Arrival[]> {
    return arrivals(this.name);
  }

  /** The requests that web servers outside answered. */
  outsideLog(): Promise<readonly WebRequest[]> {
    return webRequests(this.directory);
  }

  /** Starts counting and logging anew. */
  async forgetOutside(): Promise<void> {
    await Promise.all([forgetArrivals(this.name), forgetWebRequests(this.directory)]);
  }

  /**
   * Replaces the records of one name and type outside, at once and with TTL 0 unless said otherwise; no data removes
   * them. `zone` must be one of the lab's. What the resolver holds in its cache lives on for its TTL (5 s at most).
   */
  async setOutsideRecord(zone: string, name: string, type: string, data: readonly string[], ttl = 0): Promise<void> {
    const control = ["knotc", "-s", knotSocket(this.directory)];
    const at = inNetworkOnly(outsideNetns(this.name), control);
    const owner = `${name}.`;
    await must([...at, "zone-begin", zone]);
    try {
      // Fails when there was none, which is as good.
      await run([...at, "zone-unset", zone, owner, type]);
      for (const one of data) await must([...at, "zone-set", zone, owner, String(ttl), type, one]);
      await must([...at, "zone-commit", zone]);
    } catch (error) {
      await run([...at, "zone-abort", zone]);
      throw error;
    }
  }

  /** Writes the workloads file and answers its path. */
  async workloadsYaml(): Promise<string> {
    await writeWhole(this.workloadsPath, workloadsText(this.layout, this.#state.revision));
    return this.workloadsPath;
  }

  /** Writes the `AgentConfig` of a node's agent and answers its path. */
  async configYaml(node: number, overrides: ConfigOverrides = {}): Promise<string> {
    const path = `${this.directory}/config-node${node}.yaml`;
    await writeWhole(path, configText(this.layout, this.node(node), overrides));
    return path;
  }

  /** Replaces a pod's labels. */
  async setLabels(target: Target, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.#changePod(target, { labels: { ...labels } });
  }

  /** Makes the workloads file name a pod, or no longer. */
  async setListed(target: Target, listed: boolean): Promise<void> {
    await this.#changePod(target, { listed });
  }

  /** Replaces a namespace's labels. */
  async setNamespaceLabels(namespace: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.#change({ ...this.layout, namespaces: { ...this.layout.namespaces, [namespace]: { ...labels } } });
  }

  /** Adds a pod. `listed: false` leaves it out of the workloads file, as a pod that is not yet known; `host` reuses an address. */
  async addPod(spec: PodSpec, options: { readonly host?: number; readonly listed?: boolean } = {}): Promise<PodLayout> {
    const { layout, pod } = withPod(this.layout, spec, options);
    await writeEtc(this.directory, pod.netns, pod);
    await connectPod(layout, pod);
    await this.#change(layout);
    return pod;
  }

  /** Ends a pod: its processes, its network namespace, its entry. */
  async removePod(target: Target): Promise<void> {
    const pod = this.pod(target);
    await endProcesses([pod.netns]);
    await disconnectPod(this.layout, pod);
    await must(["ip", "netns", "del", pod.netns]);
    await rm(`${NETNS_ETC}/${pod.netns}`, { recursive: true, force: true });
    await this.#change({ ...this.layout, pods: this.layout.pods.filter((other) => other !== pod) });
  }

  /** Takes everything down; the object is of no use afterwards. */
  async destroy(): Promise<void> {
    await removeLab(this.name);
    this.#watch?.release();
  }

  /** Lets the lab outlive this process, whatever `createLab` was told. */
  keep(): void {
    this.#watch?.release();
  }

  async #changePod(target: Target, change: Partial<PodLayout>): Promise<void> {
    const pod = this.pod(target);
    const pods = this.layout.pods.map((other) => (other === pod ? { ...pod, ...change } : other));
    await this.#change({ ...this.layout, pods });
  }

  async #change(layout: Layout): Promise<void> {
    this.#state = { ...this.#state, revision: this.#state.revision + 1, layout };
    await saveState(this.#state);
    await this.workloadsYaml();
  }
}

export interface CreateOptions {
  readonly signal?: AbortSignal;
  /** The lab goes when this process does, however it ends; default: it stays until it is taken down. */
  readonly endWithProcess?: boolean;
}

/**
 * Brings a lab up and waits until its servers answer. On failure, or when the signal aborts it, nothing is left.
 * @throws Error one line for the user
 */
export async function createLab(spec: LabSpec, options: CreateOptions = {}): Promise<Lab> {
  const { signal } = options;
  const layout = layoutOf(spec);
  const missing = await missingRequirement();
  if (missing !== null) throw new Error(missing);
  const directory = await claim(layout.name);
  const watch = options.endWithProcess === true ? watchOrphan(layout.name) : null;
  try {
    const state: LabState = { version: 1, createdAt: new Date().toISOString(), revision: 1000, layout };
    const lab = new Lab(state, watch);
    await together([prepareServers(directory, layout), buildNetwork(layout), writeAllEtc(layout, directory)]);
    signal?.throwIfAborted();
    await together([
      loadRules(outsideNetns(layout.name), outsideRules()),
      ...layout.nodes.map((node) => loadRules(node.netns, serviceRules(layout))),
    ]);
    signal?.throwIfAborted();
    await startServers(directory, layout);
    signal?.throwIfAborted();
    await probe(lab);
    await lab.workloadsYaml();
    await Promise.all(layout.nodes.map((node) => lab.configYaml(node.index)));
    // Last: a lab with a state is a lab that came up.
    signal?.throwIfAborted();
    await saveState(state);
    return lab;
  } catch (error) {
    await removeLab(layout.name).then(
      () => watch?.release(),
      () => {},
    );
    throw error;
  }
}

/** A lab that another process brought up. @throws Error one line for the user */
export async function openLab(name: string): Promise<Lab> {
  return new Lab(await loadState(name));
}

/** The whole way once in each family, from the last pod: Service address, resolver, outside name server, web server. */
async function probe(lab: Lab): Promise<void> {
  const pod = lab.layout.pods.at(-1);
  if (pod === undefined) return;
  const target = `${pod.namespace}/${pod.name}`;
  const deadline = performance.now() + 10_000;
  const reach = async (family: string) => {
    const argv = ["curl", family, "-s", "-o", "/dev/null", "-m", "2", "https://github.com/"];
    for (;;) {
      const { status } = await lab.exec(target, argv, { timeoutMs: 5000 });
      if (status === 0) return;
      if (performance.now() > deadline) {
        throw new Error(
          `lab \`${lab.name}\` does not answer: \`${argv.join(" ")}\` in \`${target}\` ends with ${status}`,
        );
      }
    }
  };
  await together([reach("-4"), reach("-6")]);
  await lab.forgetOutside();
}

async function writeAllEtc(layout: Layout, directory: string): Promise<void> {
  const pods = layout.pods.map((pod) => writeEtc(directory, pod.netns, pod));
  const nodes = layout.nodes.map((node) => writeEtc(directory, node.netns, null));
  await together([...pods, ...nodes, writeEtc(directory, outsideNetns(layout.name), null)]);
}

/** The files that `ip netns exec` lays over those in `/etc`: what the kubelet writes for a pod. */
async function writeEtc(directory: string, netns: string, pod: PodLayout | null): Promise<void> {
  const folder = `${NETNS_ETC}/${netns}`;
  await mkdir(`${folder}/ssh`, { recursive: true });
  const local = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
  const own = pod === null ? "" : `${pod.address.ipv4} ${pod.name}\n${pod.address.ipv6} ${pod.name}\n`;
  const search =
    pod === null ? "" : `search ${pod.namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`;
  await together([
    writeFile(`${folder}/resolv.conf`, `nameserver ${SERVICES.dns.ipv4}\n${search}`),
    writeFile(`${folder}/hosts`, local + own),
    writeFile(`${folder}/nsswitch.conf`, "passwd: files\ngroup: files\nhosts: files dns\n"),
    writeFile(`${folder}/ssh/ssh_config`, sshClientConfig(directory)),
  ]);
}
