/** Changes that come together are applied together, at most this often. */
const COALESCE_MS = 10;

/** Applies a change at once, those that follow it together, and so that making them takes no more than half of the time. */
export class ChangePace {
  readonly #make: () => void;
  #timer: NodeJS.Timeout | null = null;
  /** When the next one may be made. */
  #notBefore = 0;

  /** `make`: makes what is to be applied of all that has changed. */
  constructor(make: () => void) {
    this.#make = make;
  }

  /** Something has changed. */
  changed(): void {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = null;
        const began = performance.now();
        this.#make();
        const ended = performance.now();
        this.#notBefore = ended + Math.max(COALESCE_MS, ended - began);
      },
      Math.max(0, this.#notBefore - performance.now()),
    );
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
