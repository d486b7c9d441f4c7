import { Worker } from "node:worker_threads";
import type { Logger } from "../../agent/log.ts";
import { workerFile } from "../../agent/worker-file.ts";
import type { KnownGroups } from "../../policy/warnings.ts";
import { READY, type ReviewResult, type ReviewTask } from "./review-result.ts";

export interface ReviewJudgeLimits {
  /** A review that takes longer is given up, with the thread that judges it. */
  readonly judgeMs: number;
  /** Reviews of one address that wait. */
  readonly waiting: number;
  /** Of the thread's heap. */
  readonly megabytes: number;
}

export const REVIEW_JUDGE_LIMITS: ReviewJudgeLimits = { judgeMs: 2_000, waiting: 64, megabytes: 256 };

interface Waiting {
  readonly body: Uint8Array;
  readonly answer: (result: ReviewResult | null) => void;
}

/**
 * Judges reviews in a thread of its own, one after the other: what somebody sends may cost more than it should (thousands of regular expressions), and
 * the replica that leads must go on meanwhile. Addresses that ask take turns.
 */
export class ReviewJudge {
  readonly #log: Logger;
  readonly #limits: ReviewJudgeLimits;
  readonly #queues = new Map<string, Waiting[]>();
  #groups: KnownGroups | null = null;
  #worker: Worker | null = null;
  /** The thread has read its program, which takes longer than most reviews. */
  #ready = false;
  #running: Waiting | null = null;
  #late: NodeJS.Timeout | undefined;
  #closed = false;
  /** Reviews that were given up. */
  givenUp = 0;

  constructor(log: Logger, limits: ReviewJudgeLimits = REVIEW_JUDGE_LIMITS) {
    this.#log = log;
    this.#limits = limits;
    this.#worker = this.#start();
  }

  /** Which groups there are; null: that is not known yet. */
  setGroups(groups: KnownGroups | null): void {
    this.#groups = groups;
    this.#worker?.postMessage({ type: "groups", groups } satisfies ReviewTask);
  }

  /** `gone`: nobody waits for it any more, and it need not be kept. @returns null: it cannot be judged here and now */
  judge(body: Uint8Array, from: string, gone?: AbortSignal): Promise<ReviewResult | null> {
    return new Promise((answer) => {
      const queue = this.#queues.get(from) ?? [];
      if (this.#closed || gone?.aborted === true || queue.length >= this.#limits.waiting) {
        answer(null);
        return;
      }
      const waiting = { body, answer };
      queue.push(waiting);
      this.#queues.set(from, queue);
      gone?.addEventListener("abort", () => this.#forget(waiting, from), { once: true });
      this.#next();
    });
  }

  /** One that is being judged is judged to its end. */
  #forget(waiting: Waiting, from: string): void {
    const queue = this.#queues.get(from) ?? [];
    const at = queue.indexOf(waiting);
    if (at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.#queues.delete(from);
    waiting.answer(null);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#late);
    for (const { answer } of [...this.#queues.values()].flat()) answer(null);
    this.#queues.clear();
    this.#done(null);
    await this.#worker?.terminate();
  }

  #next(): void {
    if (this.#running !== null) return;
    const [turn] = this.#queues;
    if (turn === undefined) return;
    const [from, queue] = turn;
    // To the end of the line.
    this.#queues.delete(from);
    this.#running = queue.shift() ?? null;
    if (queue.length > 0) this.#queues.set(from, queue);
    if (this.#running === null) return;
    this.#worker ??= this.#start();
    this.#worker.postMessage({ type: "review", body: this.#running.body } satisfies ReviewTask);
    if (this.#ready) this.#begun();
  }

  #begun(): void {
    this.#late = setTimeout(() => void this.#worker?.terminate(), this.#limits.judgeMs);
  }

  #done(result: ReviewResult | null): void {
    clearTimeout(this.#late);
    const done = this.#running;
    this.#running = null;
    done?.answer(result);
  }

  #start(): Worker {
    const { megabytes } = this.#limits;
    const worker = new Worker(workerFile("review-worker", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: megabytes, maxYoungGenerationSizeMb: megabytes / 8 },
    });
    worker.unref();
    worker.postMessage({ type: "groups", groups: this.#groups } satisfies ReviewTask);
    worker.on("message", (result: ReviewResult | typeof READY) => {
      if (result === READY) {
        this.#ready = true;
        if (this.#running !== null) this.#begun();
        return;
      }
      this.#done(result);
      this.#next();
    });
    // Out of memory, above all; the end follows.
    worker.on("error", (error) => this.#log.warn({ event: "review-thread-failed", problem: error.message }));
    worker.once("exit", () => {
      this.#worker = null;
      this.#ready = false;
      if (this.#closed) return;
      this.givenUp++;
      this.#log.warn(
        { event: "review-given-up", givenUp: this.givenUp },
        "a review took more time or memory than one may",
      );
      this.#done(null);
      this.#next();
    });
    return worker;
  }
}
