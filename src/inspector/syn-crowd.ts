/** How long SYNs are asked about after two have come in one turn. */
const CROWDED_MS = 100;

/**
 * Whether connections begin side by side. Then the lane is awake anyway and reads many packets at a turn, so that a SYN which is told of costs
 * more than one which is asked about; only where they begin one after the other does it spare a wake-up.
 */
export class SynCrowd {
  #inTurn = 0;
  #until = 0;

  /** A SYN that may go on undecided has come, in whatever way. */
  note(now: number): void {
    if (++this.#inTurn > 1) this.#until = now + CROWDED_MS;
  }

  /** The lane has read all that there was. */
  endTurn(): void {
    this.#inTurn = 0;
  }

  crowded(now: number): boolean {
    return now < this.#until;
  }
}
