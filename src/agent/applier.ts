import type { Logger } from "./log.ts";
import type { Inputs } from "./state.ts";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

export interface ApplierOptions {
  readonly apply: (inputs: Inputs) => Promise<void>;
  /** What is wanted at the moment of the call. */
  readonly wanted: () => Inputs;
  readonly log: Logger;
}

/**
 * Puts changes into force, and tries again where that failed: the kernel may refuse a change for a moment (no memory,
 * another program's transaction), and nobody would ask a second time. What is tried again is what is wanted by then.
 */
export class Applier {
  readonly #options: ApplierOptions;
  #pause = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async apply(inputs: Inputs): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#options.apply(inputs);
      this.#pause = FIRST_PAUSE_MS;
    } catch (error) {
      this.#options.log.error(
        { event: "apply-failed", error: String(error) },
        "the change could not be applied; what ran goes on, and it is tried again",
      );
      this.#again();
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #again(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.apply(this.#options.wanted());
    }, this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
  }
}
