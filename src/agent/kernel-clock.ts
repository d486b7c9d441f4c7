/** How far the two clocks may drift apart between two looks before it counts as a step. */
const STEP_MS = 50;
/** A time that the kernel noted is read within this. */
const DOUBTFUL_FOR_MS = 30_000;

/**
 * Times that the kernel noted by the clock of the machine, as this process counts time: milliseconds since the epoch that never step back
 * (`performance.timeOrigin + performance.now()`).
 */
export class KernelClock {
  readonly #wall: () => number;
  #shift = Number.NaN;
  #steppedAt = Number.NEGATIVE_INFINITY;

  /** `wall`: the clock of the machine, in milliseconds. */
  constructor(wall: () => number = Date.now) {
    this.#wall = wall;
  }

  /** A time of a moment ago. Null: the clock was set since, perhaps, and there is no telling. `now` as this process counts. */
  read(time: number, now: number): number | null {
    const shift = this.#wall() - now;
    if (Math.abs(shift - this.#shift) > STEP_MS) this.#steppedAt = now;
    this.#shift = shift;
    return now - this.#steppedAt < DOUBTFUL_FOR_MS ? null : time - shift;
  }
}
