import { setTimeout as pause } from "node:timers/promises";
import { type Logger, RateLimit } from "../agent/log.ts";
import { type KubeClient, KubeError } from "../kube/client.ts";
import { type DenialText, eventName, eventObject, seriesOf } from "./event-object.ts";

export interface EventLimits {
  /** Between two writes, whoever they are about. */
  readonly everyMs: number;
  /** Of one pod at once, and how long it takes until there is room for another. */
  readonly ofPod: number;
  readonly ofPodEveryMs: number;
  /** That wait to be written. */
  readonly waiting: number;
  /** What happened longer ago says nothing new to who has just begun to lead. */
  readonly recentMs: number;
}

export const EVENT_LIMITS: EventLimits = {
  everyMs: 50,
  ofPod: 16,
  ofPodEveryMs: 30_000,
  waiting: 5_000,
  recentMs: 600_000,
};

export interface EventCounts {
  written: number;
  failed: number;
  /** More than may be written. */
  leftOut: number;
}

interface Room {
  left: number;
  at: number;
}

const MOST_KNOWN = 10_000;
const TIMEOUT_MS = 10_000;

/**
 * Makes Events on pods of what agents say that they denied, so that `kubectl describe pod` answers why a pod cannot connect. Only the leader writes;
 * agents may not, for roles cannot say that a pod is of one's own node.
 */
export class DenialEvents {
  readonly counts: EventCounts = { written: 0, failed: 0, leftOut: 0 };
  readonly #client: Pick<KubeClient, "write">;
  readonly #leads: () => boolean;
  readonly #identity: string;
  readonly #log: Logger;
  readonly #limits: EventLimits;
  readonly #limit = new RateLimit(60_000);
  /** By `namespace/name` of the Event. */
  readonly #waiting = new Map<string, DenialText>();
  /** Events that are there, as far as is known; the oldest first. */
  readonly #known = new Set<string>();
  readonly #rooms = new Map<string, Room>();
  #round: Promise<void> | null = null;
  #closed = false;

  constructor(
    client: Pick<KubeClient, "write">,
    leads: () => boolean,
    identity: string,
    log: Logger,
    limits: EventLimits = EVENT_LIMITS,
  ) {
    this.#client = client;
    this.#leads = leads;
    this.#identity = identity;
    this.#log = log;
    this.#limits = limits;
  }

  /** What a node's agent says now, and what it said before. */
  changed(before: readonly DenialText[], now: readonly DenialText[]): void {
    const told = new Map(before.map((denial) => [eventName(denial), denial.count]));
    this.#take(now.filter((denial) => told.get(eventName(denial)) !== denial.count));
  }

  /** All that all agents say: this replica has begun to lead, or has not heard of the node before. */
  lookAgain(denials: Iterable<DenialText>): void {
    const since = Date.now() - this.#limits.recentMs;
    this.#take([...denials].filter(({ lastSeen }) => Date.parse(lastSeen) >= since));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#round;
  }

  #take(denials: readonly DenialText[]): void {
    if (!this.#leads() || this.#closed) return;
    for (const denial of denials) {
      const key = `${denial.namespace}/${eventName(denial)}`;
      if (this.#waiting.size < this.#limits.waiting || this.#waiting.has(key)) this.#waiting.set(key, denial);
      else this.counts.leftOut++;
    }
    if (this.#waiting.size === 0) return;
    this.#round ??= this.#writeAll().finally(() => {
      this.#round = null;
    });
  }

  async #writeAll(): Promise<void> {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      if (this.#closed || !this.#leads()) return this.#waiting.clear();
      const [key, denial] = next;
      this.#waiting.delete(key);
      if (!this.#roomFor(denial.podUid)) {
        this.counts.leftOut++;
        continue;
      }
      await this.#write(key, denial);
      await pause(this.#limits.everyMs);
    }
  }

  #roomFor(uid: string): boolean {
    const { ofPod, ofPodEveryMs } = this.#limits;
    const now = performance.now();
    const room = this.#rooms.get(uid) ?? { left: ofPod, at: now };
    const more = Math.floor((now - room.at) / ofPodEveryMs);
    room.left = Math.min(ofPod, room.left + more);
    room.at += more * ofPodEveryMs;
    this.#rooms.delete(uid);
    this.#rooms.set(uid, room);
    if (this.#rooms.size > MOST_KNOWN) this.#rooms.delete(this.#rooms.keys().next().value as string);
    return room.left > 0 && room.left-- > 0;
  }

  async #write(key: string, denial: DenialText): Promise<void> {
    try {
      // The API server forgets Events after an hour, and another leader may have written them.
      if (this.#known.has(key)) (await this.#repeat(denial)) || (await this.#create(denial));
      else (await this.#create(denial)) || (await this.#repeat(denial));
      this.counts.written++;
      this.#known.delete(key);
      this.#known.add(key);
      if (this.#known.size > MOST_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    } catch (error) {
      // The namespace is going, or gone: so is the pod.
      if (error instanceof KubeError && [403, 404].includes(error.status) && this.#known.has(key)) return;
      this.counts.failed++;
      const suppressed = this.#limit.allow(performance.now());
      if (suppressed === null) return;
      const problem = error instanceof Error ? error.message : String(error);
      this.#log.warn({ event: "event-not-written", pod: `${denial.namespace}/${denial.pod}`, problem, suppressed });
    }
  }

  /** @returns false: it is there already */
  #create(denial: DenialText): Promise<boolean> {
    const body = eventObject(denial, this.#identity);
    return this.#send("POST", folderOf(denial), "application/json", body, 409);
  }

  /** @returns false: it is not there */
  async #repeat(denial: DenialText): Promise<boolean> {
    const body = seriesOf(denial);
    if (denial.count < 2) return true;
    return this.#send("PATCH", `${folderOf(denial)}/${eventName(denial)}`, "application/merge-patch+json", body, 404);
  }

  async #send(method: "POST" | "PATCH", path: string, contentType: string, body: object, no: number): Promise<boolean> {
    try {
      await this.#client.write({ method, path, contentType, body: JSON.stringify(body), timeoutMs: TIMEOUT_MS });
      return true;
    } catch (error) {
      if (error instanceof KubeError && error.status === no) return false;
      throw error;
    }
  }
}

function folderOf({ namespace }: DenialText): string {
  return `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
}
