import type { FlowEvent } from "../../flow/event.ts";
import type { Workload } from "../../model/workload.ts";
import { formatAddress } from "../../net/address.ts";
import { hasPorts, protocolName } from "../../net/ports.ts";
import { oneLine } from "../../policy/check.ts";

/** What a pod was denied, as the status of its node tells it. Times are RFC 3339. Paths and methods are nobody's but the flow log's. */
export interface Denial {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
  readonly policy?: string;
  readonly rule?: string;
  readonly reason: string;
  /** `TCP api.example:443`, `DNS api.example`, `ICMP 192.0.2.1`. */
  readonly destination: string;
  readonly count: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
}

export interface ToldDenials {
  readonly denials: readonly Denial[];
  /** Denials that are in none of them. */
  readonly leftOut: number;
}

export interface DenialLimits {
  /** Of a node, as the schema of the kind bounds them. */
  readonly told: number;
  readonly toldOfPod: number;
  readonly keptOfPod: number;
  /** Denials of a pod that are looked at in a second; the others are only counted. */
  readonly lookedAt: number;
  /** New ones of a pod that are told at once, and how long it takes until there is room for another. */
  readonly news: number;
  readonly newsEveryMs: number;
  /** What is known is told again this often: 5,000 nodes with a denial each make 17 writes a second. */
  readonly tellEveryMs: number;
  /** Since the last of its kind. */
  readonly forgetMs: number;
}

export const DENIAL_LIMITS: DenialLimits = {
  told: 64,
  toldOfPod: 8,
  keptOfPod: 16,
  lookedAt: 100,
  news: 4,
  newsEveryMs: 60_000,
  tellEveryMs: 300_000,
  forgetMs: 900_000,
};

interface Kept {
  readonly event: Pick<Denial, "policy" | "rule" | "reason" | "destination">;
  readonly first: number;
  last: number;
  count: number;
}

interface PodDenials {
  readonly workload: Workload;
  readonly kept: Map<string, Kept>;
  /** All since the first that is kept. */
  total: number;
  last: number;
  second: number;
  looked: number;
  /** What is left of `news`, at that time. */
  news: number;
  newsAt: number;
  /** Something new that has not been told. */
  fresh: boolean;
}

const NOTHING: ToldDenials = { denials: [], leftOut: 0 };
/** As the schema of the kind bounds it: a status with a longer one would be refused as a whole. */
const LONGEST_DESTINATION = 300;
const LONGEST_NAME = 253;

/**
 * What pods of this node were denied lately, so that it can be said on the pod. Each pod has its own room, in memory and in what is told: one that tries
 * every port of every address pushes out nothing but its own, and has the status written no more often than any.
 */
export class Denials {
  readonly #limits: DenialLimits;
  readonly #pods = new Map<number, PodDenials>();
  #told = NOTHING;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(limits: DenialLimits = DENIAL_LIMITS) {
    this.#limits = limits;
  }

  /** A decision that is a denial; borrowed. */
  add(event: FlowEvent, workload: Workload): void {
    const { time } = event;
    const pod = this.#podOf(workload, time);
    pod.total++;
    pod.last = Math.max(pod.last, time);
    const second = Math.floor(time / 1000);
    if (second !== pod.second) {
      pod.second = second;
      pod.looked = 0;
    }
    if (++pod.looked > this.#limits.lookedAt) return;
    const { policy, rule, reason } = event.decision;
    const destination = destinationOf(event);
    const key = JSON.stringify([policy, rule, reason, destination]);
    const known = pod.kept.get(key);
    if (known !== undefined) {
      known.count++;
      known.last = Math.max(known.last, time);
      return;
    }
    if (pod.kept.size >= this.#limits.keptOfPod) pod.kept.delete(oldest(pod.kept));
    const what = { ...(policy === null ? {} : { policy }), ...(rule === null ? {} : { rule }), reason, destination };
    pod.kept.set(key, { event: what, first: time, last: time, count: 1 });
    pod.fresh = true;
  }

  /**
   * What is to be told now: the same object as before for as long as nothing is. `workloads`: the pods that there are; `now`: milliseconds of Unix
   * time.
   */
  tell(workloads: readonly Workload[], now: number): ToldDenials {
    if (this.#pods.size === 0 && this.#told === NOTHING) return NOTHING;
    const due = now - this.#toldAt >= this.#limits.tellEveryMs;
    const fresh = [...this.#pods.values()].filter((pod) => pod.fresh && this.#mayTell(pod, now));
    if (!due && fresh.length === 0) return this.#told;
    for (const pod of fresh) {
      pod.fresh = false;
      pod.news--;
    }
    this.#forget(workloads, now);
    this.#toldAt = now;
    const told = this.#select();
    if (JSON.stringify(told) !== JSON.stringify(this.#told)) this.#told = told;
    return this.#told;
  }

  /** When a pod was last denied something, in milliseconds of Unix time; 0: that is not known, or long ago. */
  lastOf(workloadId: number): number {
    return this.#pods.get(workloadId)?.last ?? 0;
  }

  #podOf(workload: Workload, time: number): PodDenials {
    let pod = this.#pods.get(workload.id);
    if (pod === undefined) {
      const { news } = this.#limits;
      pod = { workload, kept: new Map(), total: 0, last: 0, second: 0, looked: 0, news, newsAt: time, fresh: false };
      this.#pods.set(workload.id, pod);
    }
    return pod;
  }

  #mayTell(pod: PodDenials, now: number): boolean {
    const { news, newsEveryMs } = this.#limits;
    const more = Math.floor(Math.max(0, now - pod.newsAt) / newsEveryMs);
    if (more > 0) {
      pod.news = Math.min(news, pod.news + more);
      pod.newsAt += more * newsEveryMs;
    }
    return pod.news > 0;
  }

  #forget(workloads: readonly Workload[], now: number): void {
    const there = new Set(workloads.map(({ id }) => id));
    for (const [id, pod] of this.#pods) {
      for (const [key, { last, count }] of pod.kept) {
        if (now - last < this.#limits.forgetMs) continue;
        pod.kept.delete(key);
        pod.total -= count;
      }
      if (pod.kept.size === 0 || !there.has(id)) this.#pods.delete(id);
    }
  }

  /** The latest of each pod, then the next of each, for as long as there is room. */
  #select(): ToldDenials {
    const { told, toldOfPod } = this.#limits;
    const pods = [...this.#pods.values()].map((pod) => ({
      pod,
      latest: [...pod.kept.values()].toSorted((a, b) => b.last - a.last).slice(0, toldOfPod),
    }));
    pods.sort((a, b) => (b.latest[0]?.last ?? 0) - (a.latest[0]?.last ?? 0));
    const chosen: Denial[] = [];
    for (let round = 0; round < toldOfPod; round++) {
      for (const { pod, latest } of pods) {
        const one = latest[round];
        if (one !== undefined && chosen.length < told) chosen.push(denialOf(pod.workload, one));
      }
    }
    const all = pods.reduce((sum, { pod }) => sum + pod.total, 0);
    return { denials: chosen, leftOut: all - chosen.reduce((sum, { count }) => sum + count, 0) };
  }
}

function oldest(kept: ReadonlyMap<string, Kept>): string {
  let found = "";
  let at = Number.POSITIVE_INFINITY;
  for (const [key, { last }] of kept) {
    if (last >= at) continue;
    found = key;
    at = last;
  }
  return found;
}

function denialOf(workload: Workload, { event, first, last, count }: Kept): Denial {
  const { namespace, name, uid } = workload;
  const time = (at: number): string => `${new Date(at).toISOString().slice(0, 19)}Z`;
  return { namespace, pod: name, podUid: uid, ...event, count, firstSeen: time(first), lastSeen: time(last) };
}

/** The pod may have written the name itself, in any bytes, each of which takes six letters to be shown. */
function destinationOf(event: FlowEvent): string {
  const text = wholeDestinationOf(event);
  return text.length <= LONGEST_DESTINATION ? text : `${text.slice(0, LONGEST_DESTINATION - 1)}…`;
}

function wholeDestinationOf({ kind, name, tuple }: FlowEvent): string {
  const called = name === null ? null : oneLine(name, LONGEST_NAME);
  if (kind === "dns" && called !== null) return `DNS ${called}`;
  const { protocol, server, serverPort } = tuple;
  const address = called ?? formatAddress(server);
  if (!hasPorts(protocol)) return `${protocolName(protocol)} ${address}`;
  return `${protocolName(protocol)} ${address.includes(":") ? `[${address}]` : address}:${serverPort}`;
}
