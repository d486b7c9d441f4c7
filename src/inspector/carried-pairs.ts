import { type FlowKey, hashKey } from "./flow-table.ts";

/** What lies between the answer and the kernel's taking note of it. */
const SLACK_MS = 1_000;
/** Of one workload at a time. The kernel's sets hold those of 250 workloads that use it up. */
const MOST_PAIRS = 256;
const SEEN = 8_192;
/** A workload that opened more than its part of too many flows is asked about each for so long. */
const BARRED_MS = 10_000;
/** Parts of all flows of late below which nobody is held to be the one who opened too many. */
const LEAST_PART = 1 / 40;
/** Flows that are looked back upon. */
const RECENT = 65_536;

/**
 * What the kernel's carry sets may hold by now: pairs of a workload's address and a destination that were answered with
 * `carry`. It never holds less than they do (but for those of a lane before this one, which are flushed at its start). A pair is
 * carried from the second flow on, so that a pod that talks to each address once has none. Bounded for each workload; whoever is at the bound is
 * asked about, as everyone was before.
 */
export class CarriedPairs {
  /** As long as an element lives in the kernel. */
  readonly lifeMs: number;
  readonly #seed: number;
  /** A mark for each pair of late, in a place that its hash gives: whoever comes later overwrites it, which costs a question. */
  readonly #seen = new Uint32Array(SEEN);
  /** By workload: when each pair is gone for certain. */
  readonly #carriers = new Map<number, Map<string, number>>();
  #until = 0;
  /** Flows that the kernel opened since somebody was barred, or since a while, by workload. */
  readonly #opened = new Map<number, number>();
  #openedSum = 0;
  /** Until when. */
  readonly #barred = new Map<number, number>();

  constructor(seed: number, lifeMs: number) {
    this.lifeMs = lifeMs;
    this.#seed = seed >>> 0;
  }

  /** Whether the kernel may hold anything. */
  mayHold(now: number): boolean {
    return now < this.#until;
  }

  /** Notes that a flow of this pair was allowed. True: there was one before, so that it is worth carrying. */
  again(key: FlowKey): boolean {
    // Never 0: that is what an empty place holds.
    const hash = (hashKey(key, 0, this.#seed) | 0x8000_0000) >>> 0;
    const at = hash & (SEEN - 1);
    if (this.#seen[at] === hash) return true;
    this.#seen[at] = hash;
    return false;
  }

  /** Takes a pair that is about to be answered with `carry`. False: it must not be. */
  take(workloadId: number, key: FlowKey, now: number): boolean {
    if (now < (this.#barred.get(workloadId) ?? 0)) return false;
    // Once nothing is left, what is remembered of workloads that are gone goes, too.
    if (!this.mayHold(now)) this.#carriers.clear();
    let pairs = this.#carriers.get(workloadId);
    if (pairs === undefined) {
      pairs = new Map();
      this.#carriers.set(workloadId, pairs);
    }
    const { c0, c1, c2, c3, s0, s1, s2, s3, protocol, serverPort } = key;
    const name = `${c0} ${c1} ${c2} ${c3} ${s0} ${s1} ${s2} ${s3} ${protocol} ${serverPort}`;
    if (!pairs.has(name) && pairs.size >= MOST_PAIRS && !expire(pairs, now)) return false;
    const until = now + this.lifeMs + SLACK_MS;
    pairs.set(name, until);
    this.#until = Math.max(this.#until, until);
    return true;
  }

  /** The kernel has opened a flow. */
  opened(workloadId: number): void {
    if (this.#openedSum >= RECENT) this.#forgetOpened();
    this.#openedSum++;
    this.#opened.set(workloadId, (this.#opened.get(workloadId) ?? 0) + 1);
  }

  /**
   * More flows are opened than can be recorded: of the workloads that opened some of late, those with no less than the mean have the kernel
   * open none for a while. Returns them; what the sets hold of theirs is the caller's to flush.
   */
  bar(now: number): number[] {
    const least = Math.max(this.#openedSum / Math.max(1, this.#opened.size), this.#openedSum * LEAST_PART);
    const most = [...this.#opened].filter(([, count]) => count >= least).map(([workloadId]) => workloadId);
    for (const [workloadId, until] of this.#barred) if (until <= now) this.#barred.delete(workloadId);
    for (const workloadId of most) this.#barred.set(workloadId, now + BARRED_MS);
    this.#forgetOpened();
    return most;
  }

  #forgetOpened(): void {
    this.#opened.clear();
    this.#openedSum = 0;
  }

  /** The kernel's sets are empty. */
  flushed(): void {
    this.#until = 0;
    this.#carriers.clear();
  }

  forget(workloadId: number): void {
    this.#opened.delete(workloadId);
    this.#barred.delete(workloadId);
    this.#carriers.delete(workloadId);
  }
}

/** True: there is room now. */
function expire(pairs: Map<string, number>, now: number): boolean {
  for (const [name, until] of pairs) if (now >= until) pairs.delete(name);
  return pairs.size < MOST_PAIRS;
}
