import type { FlowTuple } from "../flow/event.ts";

/** A lane that does not answer is replaced, and the next one follows nothing of this. */
const ANSWER_LIMIT_MS = 2_000;

/** Which flows the packet lane follows: a question to another thread. */
export class FollowedFlows {
  readonly #ask: () => void;
  #answer: ((flows: readonly FlowTuple[]) => void) | null = null;

  constructor(ask: () => void) {
    this.#ask = ask;
  }

  /** One question at a time; without an answer, none. */
  async get(): Promise<readonly FlowTuple[]> {
    const answer = new Promise<readonly FlowTuple[]>((resolve) => {
      this.#answer = resolve;
      setTimeout(() => resolve([]), ANSWER_LIMIT_MS).unref();
    });
    this.#ask();
    return answer;
  }

  onAnswer(flows: readonly FlowTuple[]): void {
    this.#answer?.(flows);
  }
}
