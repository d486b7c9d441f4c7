import { latencySince } from "./latency.ts";

const STEP_MS = 10_000;
const STEPS = 6;

/** Verdict times of about the last minute: what they were when it began is taken from what they are. */
export class RecentTimes {
  readonly #read: () => Float64Array;
  readonly #steps: Float64Array[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(read: () => Float64Array) {
    this.#read = read;
    this.#steps.push(read());
    this.#timer = setInterval(() => this.#step(), STEP_MS).unref();
  }

  slots(): Float64Array {
    return latencySince(this.#read(), this.#steps[0]!);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #step(): void {
    this.#steps.push(this.#read());
    if (this.#steps.length > STEPS) this.#steps.shift();
  }
}
