const TURN_MS = 8;

/** Long work in turns with whatever else the thread has to do. */
export class Turns {
  #until = performance.now() + TURN_MS;

  /** When the present turn is over, as `performance.now()` counts. */
  get until(): number {
    return this.#until;
  }

  /** It is time for others. */
  isOver(): boolean {
    return performance.now() >= this.#until;
  }

  async next(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#until = performance.now() + TURN_MS;
  }
}
