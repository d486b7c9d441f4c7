export interface BackoffTimes {
  readonly firstMs: number;
  readonly longestMs: number;
}

const BACKOFF_TIMES: BackoffTimes = { firstMs: 500, longestMs: 30_000 };

/**
 * How long to wait before the next try: nothing after a success, then longer with each failure. Each pause is drawn from the
 * upper half of its range, so that a thousand nodes that lost the same server do not come back in one moment.
 */
export class Backoff {
  readonly #times: BackoffTimes;
  #failures = 0;
  #atLeast = 0;

  constructor(times: BackoffTimes = BACKOFF_TIMES) {
    this.#times = times;
  }

  /** `retryAfterMs`: what the server asked for. */
  failed(retryAfterMs = 0): void {
    this.#failures++;
    this.#atLeast = retryAfterMs;
  }

  worked(): void {
    this.#failures = 0;
    this.#atLeast = 0;
  }

  /** Milliseconds to wait now. */
  pause(): number {
    if (this.#failures === 0) return 0;
    const { firstMs, longestMs } = this.#times;
    const most = Math.min(longestMs, firstMs * 2 ** Math.min(this.#failures - 1, 16));
    // What was asked for is a least, drawn out too: it was asked of all nodes at once.
    return Math.max(most * (0.5 + Math.random() / 2), this.#atLeast * (1 + Math.random() / 4));
  }
}
