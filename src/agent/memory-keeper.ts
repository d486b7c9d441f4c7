import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const CHECK_EVERY_MS = 2_000;
/** The first look: what the start needed is garbage by then, and the documents have been looked at once more (workloads/files.ts). */
const FIRST_CHECK_MS = 2_300;
/** Less is not worth a pause of the main thread (verdicts are another thread's). */
const WORTH_BYTES = 8 * 1024 * 1024;
/** Shares of its time in which the main thread runs: below the first it rests, and nobody notices the pause; above the second it is busy. */
const RESTS = 0.1;
const BUSY = 0.25;
/** A thread that is busy is interrupted no more often, nor one that works, nor one that rests while little has come. */
const BUSY_PAUSE_MS = 60_000;
const PAUSE_MS = 10_000;
/** What a young generation that has grown takes beyond the smallest. */
const YOUNG_BYTES = 5 * 1024 * 1024;
/** The young generation alone, which grows again after each thorough release, is less. */
const MUCH_BYTES = 16 * 1024 * 1024;

/** What a collection freed outside the heap (buffers, the state of a compression) is freed in later turns. */
const SETTLE_MS = 100;

export interface MemoryKeeperOptions {
  /** Collects garbage; thoroughly: lets go of what is kept for speed alone, too. */
  readonly release: (thoroughly: boolean) => void;
  /** Gives freed memory back to the kernel. */
  readonly trim: () => void;
  /** Resident bytes of the process. */
  readonly resident: () => number;
  /** Share of the time since the last call in which the main thread ran, 0 to 1. */
  readonly busy: () => number;
}

/**
 * Keeps the process small. V8 and malloc hold on to what a start or a large change needed once; nothing makes them give
 * it back while little happens. Looked at every so often, soon after the start and when it has grown.
 */
export class MemoryKeeper {
  readonly #options: MemoryKeeperOptions;
  /** Resident bytes after the last release. */
  #floor = 0;
  #releasedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #settling: NodeJS.Timeout | null = null;

  constructor(options: MemoryKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    const again = (): void => {
      this.check(performance.now());
      this.#timer = setTimeout(again, CHECK_EVERY_MS).unref();
    };
    this.#timer = setTimeout(again, FIRST_CHECK_MS).unref();
  }

  /** `now` in milliseconds. */
  check(now: number): void {
    const { release, trim, resident, busy } = this.#options;
    const share = busy();
    const grown = resident() - this.#floor;
    if (grown < WORTH_BYTES) return;
    const rests = share < RESTS;
    const pause = share >= BUSY ? BUSY_PAUSE_MS : rests && grown >= MUCH_BYTES ? 0 : PAUSE_MS;
    if (now - this.#releasedAt < pause) return;
    const thoroughly = rests || this.#floor === 0;
    release(thoroughly);
    this.#releasedAt = now;
    this.#settling = setTimeout(() => {
      trim();
      // The young generation is as large as before: that is not what the process needs.
      this.#floor = resident() - (thoroughly ? 0 : YOUNG_BYTES);
    }, SETTLE_MS).unref();
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#settling !== null) clearTimeout(this.#settling);
  }
}

/** What the old generation may grow by over what is in use after a collection; V8 alone goes up to 300. */
const GROWTH_PERCENT = 30;

/**
 * Collects all garbage there is, which takes 20 ms of this thread; thoroughly 40 to 120, for then the young generation shrinks, and code that
 * has not run lately is forgotten. Options of V8 that are set with the start make it refuse what Node has compiled ahead (60 ms of
 * processor), so they are set here.
 */
export function collectGarbage(thoroughly: boolean): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as NonNullable<typeof globalThis.gc>;
  // Only the last resort shrinks the young generation.
  collect({ type: "major", execution: "sync", ...(thoroughly ? { flavor: "last-resort" } : {}) });
}
