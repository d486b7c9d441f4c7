import { type Address, formatAddress } from "../../net/address.ts";
import type { PodSandbox } from "../../nri/messages.ts";
import type { Pod } from "../../workloads/pod.ts";

/** A node has some hundred; beyond it addresses come from the API server alone. */
const MOST_PODS = 4_096;
const MOST_GONE = 64;

interface Known {
  /** Addresses by id of the sandbox. Of a pod there is one at a time, unless the runtime is making it anew. */
  readonly running: Map<string, readonly Address[]>;
  /** Addresses of its sandboxes that are gone, as text, longest gone first. */
  readonly gone: Set<string>;
  /** What it was made of it when policies were last compiled; null: not since the runtime told of it. */
  settled: Settled | null;
  disagreed: boolean;
}

/** What the pod's addresses are by now. `byAddress` false: it is not told by them (it is on the host's network, or over). */
export interface Settled {
  readonly byAddress: boolean;
  readonly addresses: readonly Address[];
}

/**
 * What the container runtime says of addresses, joined with the pods of the API server by UID (docs/adr/0030-nri.md): who a pod is comes from its object
 * alone, and so do its addresses once the object has some. Before that they are those of the sandbox that runs; and those of a sandbox that is
 * gone are the pod's no more, whatever its object still says.
 */
export class Sandboxes {
  readonly #onDisagreement: (pod: Pod, told: readonly Address[]) => void;
  /** By UID. */
  readonly #pods = new Map<string, Known>();
  /** Pods whose address the runtime and the API server did not agree about. */
  disagreements = 0;

  constructor(onDisagreement: (pod: Pod, told: readonly Address[]) => void) {
    this.#onDisagreement = onDisagreement;
  }

  /** Sandboxes that run. */
  get running(): number {
    return [...this.#pods.values()].reduce((sum, { running }) => sum + running.size, 0);
  }

  /**
   * One has its network. Another one of the same pod that had one of its addresses is gone by that; one of another pod is not: that pod may still
   * send, and its identity is not to be had by being given its address.
   */
  run({ uid, id, addresses }: PodSandbox): void {
    this.#end(uid, id);
    const known = this.#pods.get(uid) ?? this.#add(uid);
    if (known === null) return;
    const words = addresses.map(formatAddress);
    for (const [other, had] of known.running)
      if (had.some((address) => words.includes(formatAddress(address)))) this.#end(uid, other);
    known.running.set(id, addresses);
    for (const address of words) known.gone.delete(address);
    known.settled = null;
    known.disagreed = false;
  }

  /** Nothing runs in it any more. One that was not known to run says nothing: its address may be that of the pod's next one. */
  stop({ uid, id }: Pick<PodSandbox, "uid" | "id">): void {
    this.#end(uid, id);
  }

  /**
   * In the place of all that was told. The list has sandboxes that are gone, too, and does not say which: those without a process
   * say nothing, nor do several of one pod, or with one address.
   */
  replace(sandboxes: readonly PodSandbox[]): void {
    this.clear();
    const alive = sandboxes.filter(({ pid, addresses }) => pid !== 0 && addresses.length > 0);
    const pods = Map.groupBy(alive, ({ uid }) => uid);
    const owners = Map.groupBy(
      alive.flatMap(({ addresses }) => addresses.map(formatAddress)),
      (address) => address,
    );
    for (const sandbox of alive) {
      const contested = sandbox.addresses.some((address) => owners.get(formatAddress(address))!.length > 1);
      if (pods.get(sandbox.uid)!.length === 1 && !contested) this.run(sandbox);
    }
  }

  /** Nobody tells any more what becomes of them. */
  clear(): void {
    this.#pods.clear();
  }

  /** What policies are to be compiled with. `pods`: all of this node that the API server has told. */
  settle(pods: readonly Pod[]): readonly Pod[] {
    if (this.#pods.size === 0) return pods;
    const there = new Set(pods.map(({ uid }) => uid));
    for (const [uid, { running }] of this.#pods) if (running.size === 0 && !there.has(uid)) this.#pods.delete(uid);
    return pods.map((pod) => this.#settlePod(pod));
  }

  settledOf(uid: string): Settled | null {
    return this.#pods.get(uid)?.settled ?? null;
  }

  #settlePod(pod: Pod): Pod {
    const known = this.#pods.get(pod.uid);
    if (known === undefined) return pod;
    if (pod.hostNetwork || pod.ended) {
      known.settled = { byAddress: false, addresses: [] };
      return pod;
    }
    const told = [...known.running.values()].flat();
    const own = pod.addresses.filter((address) => !known.gone.has(formatAddress(address)));
    const addresses = own.length > 0 ? own : told;
    if (own.length > 0 && told.length > 0) this.#compare(pod, known, own, told);
    known.settled = { byAddress: true, addresses };
    if (own.length === pod.addresses.length && own.length > 0) return pod;
    // With its sandbox all that ran in it is gone: it has no address for that reason, and no other.
    return { ...pod, addresses, running: pod.running && (addresses.length > 0 || pod.addresses.length === 0) };
  }

  /** A runtime may tell of more addresses than kubelet passes on; not of others. */
  #compare(pod: Pod, known: Known, own: readonly Address[], told: readonly Address[]): void {
    if (known.disagreed) return;
    const words = new Set(own.map(formatAddress));
    if (told.some((address) => words.has(formatAddress(address)))) return;
    known.disagreed = true;
    this.disagreements++;
    this.#onDisagreement(pod, told);
  }

  #end(uid: string, id: string): void {
    const known = this.#pods.get(uid);
    const had = known?.running.get(id);
    if (known === undefined || had === undefined) return;
    known.running.delete(id);
    for (const address of had.map(formatAddress)) leave(known, address);
  }

  #add(uid: string): Known | null {
    if (this.#pods.size >= MOST_PODS) return null;
    const known = { running: new Map(), gone: new Set<string>(), settled: null, disagreed: false };
    this.#pods.set(uid, known);
    return known;
  }
}

function leave({ gone }: Known, address: string): void {
  gone.delete(address);
  gone.add(address);
  for (const oldest of gone) {
    if (gone.size <= MOST_GONE) break;
    gone.delete(oldest);
  }
}
