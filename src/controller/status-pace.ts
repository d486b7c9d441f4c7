import { isDeepStrictEqual } from "node:util";
import type { ConditionText, PolicyStatusText } from "../policy/status-schema.ts";

/**
 * A node's share of the pause between two writes of one object's status that say no more than other numbers. Every agent watches the
 * policies, so each write of one is told to all nodes (some 0.6 ms of the API server's processor for each), and of a policy that selects pods
 * on all nodes the numbers never rest: at 5,000 nodes two writes a second would take six processors, one in 50 s takes a sixteenth.
 */
const EACH_NODE_MS = 10;

/** When the status of an object is written again. What somebody waits for is written at once: another condition, or another generation. */
export class StatusPace {
  readonly #nodes: () => number;
  /** By UID, in milliseconds: before then numbers alone are not written. */
  readonly #until = new Map<string, number>();

  /** `nodes`: how many there are now. */
  constructor(nodes: () => number) {
    this.#nodes = nodes;
  }

  /** @returns milliseconds to wait before `after` is written in the place of `before`; 0: none */
  wait(uid: string, before: PolicyStatusText, after: PolicyStatusText, now: number): number {
    const until = this.#until.get(uid);
    if (until === undefined) return 0;
    if (until <= now) {
      this.#until.delete(uid);
      return 0;
    }
    return onlyNumbers(before, after) ? until - now : 0;
  }

  wrote(uid: string, now: number): void {
    for (const [other, until] of this.#until) {
      // They stand in the order in which they were written.
      if (until > now) break;
      this.#until.delete(other);
    }
    this.#until.delete(uid);
    this.#until.set(uid, now + this.#nodes() * EACH_NODE_MS);
  }
}

function onlyNumbers(before: PolicyStatusText, after: PolicyStatusText): boolean {
  return before.observedGeneration === after.observedGeneration && isDeepStrictEqual(said(before), said(after));
}

function said({ conditions = [] }: PolicyStatusText): Pick<ConditionText, "type" | "status" | "reason">[] {
  return conditions.map(({ type, status, reason }) => ({ type, status, reason }));
}
