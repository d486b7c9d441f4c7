import type { Workload } from "../../model/workload.ts";
import { formatAddress } from "../../net/address.ts";
import type { Settled } from "./sandboxes.ts";

/**
 * The runtime asks one thing at a time: while it waits for us no other pod of the node starts or ends. And it gives a plug-in up that does not
 * answer in time (2 s, unless it is told otherwise).
 */
const LONGEST_MS = 1_000;
/** Below it a wait is of no use. */
const SHORTEST_MS = 50;
const MOST_LATE = 256;

export interface StartCounts {
  /** Pods that were known in the kernel before their first container was started. */
  inForce: number;
  /** Those that were not when the bound was over. */
  late: number;
  /** Those that nobody waited for: without addresses of their own, or not of the API server, or after others that were late. */
  notWaited: number;
  /** Of all waits together. */
  waitSeconds: number;
}

interface Waiter {
  readonly uid: string;
  readonly since: number;
  readonly release: (result: "inForce" | "late" | "notWaited") => void;
}

/**
 * Holds the start of a pod until who it is is in force, or a bound is over. Each pod that is late halves the bound for the next, until one
 * comes in force within the whole of it again: where the API server does not tell of pods, or they take longer, waiting would only make every start of the
 * node slower.
 */
export class StartGate {
  readonly #settledOf: (uid: string) => Settled | null;
  readonly #waiting = new Set<Waiter>();
  /** Since when those that started before they were in force could have been waited for, by UID, longest ago first. */
  readonly #late = new Map<string, number>();
  readonly counts: StartCounts = { inForce: 0, late: 0, notWaited: 0, waitSeconds: 0 };
  #inForce: readonly Workload[] = [];
  #lateInARow = 0;
  /** Of what the runtime allows. */
  #most = LONGEST_MS;

  /** `settledOf`: what is known of the pod; null: nothing has been made of what the runtime told yet. */
  constructor(settledOf: (uid: string) => Settled | null) {
    this.#settledOf = settledOf;
  }

  /** `requestTimeout`: milliseconds that the runtime gives a plug-in; 0: it does not say. */
  allow(requestTimeout: number): void {
    this.#most = requestTimeout > 0 ? Math.min(LONGEST_MS, requestTimeout / 2) : LONGEST_MS;
    this.#lateInARow = 0;
    this.#late.clear();
  }

  /** Milliseconds that the next pod is waited for. */
  get limit(): number {
    const limit = this.#most / 2 ** this.#lateInARow;
    return limit < SHORTEST_MS ? 0 : limit;
  }

  /** One that there is nothing to wait for. */
  pass(): void {
    this.counts.notWaited++;
  }

  /** Resolves when who the pod is is in force, or the bound is over. @returns whether it is in force, or needs not be */
  async hold(uid: string): Promise<boolean> {
    const { limit } = this;
    const since = performance.now();
    if (limit === 0) {
      this.#remember(uid, since);
      this.counts.notWaited++;
      return false;
    }
    const result = await new Promise<"inForce" | "late" | "notWaited">((resolve) => {
      const timer = setTimeout(() => waiter.release("late"), limit);
      const waiter: Waiter = {
        uid,
        since,
        release: (how) => {
          clearTimeout(timer);
          this.#waiting.delete(waiter);
          resolve(how);
        },
      };
      this.#waiting.add(waiter);
      this.#look(waiter);
    });
    this.counts.waitSeconds += (performance.now() - since) / 1000;
    this.counts[result]++;
    if (result === "late") {
      this.#lateInARow++;
      this.#remember(uid, since);
    } else if (result === "inForce") this.#lateInARow = 0;
    return result !== "late";
  }

  /** These are the kernel's by now. */
  inForce(workloads: readonly Workload[]): void {
    this.#inForce = workloads;
    for (const waiter of this.#waiting) this.#look(waiter);
    const now = performance.now();
    for (const [uid, since] of this.#late) {
      if (!this.#isInForce(uid)) continue;
      this.#late.delete(uid);
      if (now - since < this.#most) this.#lateInARow = 0;
    }
  }

  /** The runtime does not wait any more. */
  open(): void {
    for (const waiter of this.#waiting) waiter.release("notWaited");
  }

  #look(waiter: Waiter): void {
    if (this.#settledOf(waiter.uid)?.byAddress === false) waiter.release("notWaited");
    else if (this.#isInForce(waiter.uid)) waiter.release("inForce");
  }

  #isInForce(uid: string): boolean {
    const settled = this.#settledOf(uid);
    const workload = settled === null ? undefined : this.#inForce.find((one) => one.uid === uid);
    if (settled === null || workload === undefined || settled.addresses.length === 0) return false;
    const known = new Set(workload.addresses.map(formatAddress));
    return settled.addresses.every((address) => known.has(formatAddress(address)));
  }

  #remember(uid: string, since: number): void {
    this.#late.delete(uid);
    this.#late.set(uid, since);
    for (const oldest of this.#late.keys()) {
      if (this.#late.size <= MOST_LATE) break;
      this.#late.delete(oldest);
    }
  }
}
