const CHECK_EVERY_MS = 2_000;
/** The first look: what the start needed is garbage by then, and the documents have been looked at once more (workloads/files.ts). */
const FIRST_CHECK_MS = 2_300;
/** Less is not worth a pause of the main thread (20 to 50 ms; verdicts are another thread's). */
const WORTH_BYTES = 8 * 1024 * 1024;
/** A main thread that is busy is interrupted no more often. */
const BUSY_PAUSE_MS = 60_000;
/** Share of its time in which the main thread runs; below this nobody notices the pause. */
const QUIET = 0.1;

/** What a collection freed outside the heap (buffers, the state of a compression) is freed in later turns. */
const SETTLE_MS = 100;

export interface MemoryKeeperOptions {
  /** Lets go of what is kept for speed alone, and collects garbage. */
  readonly release: () => void;
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
    const quiet = busy() < QUIET;
    if (resident() - this.#floor < WORTH_BYTES) return;
    if (!quiet && now - this.#releasedAt < BUSY_PAUSE_MS) return;
    release();
    this.#releasedAt = now;
    this.#settling = setTimeout(() => {
      trim();
      this.#floor = resident();
    }, SETTLE_MS).unref();
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#settling !== null) clearTimeout(this.#settling);
  }
}
