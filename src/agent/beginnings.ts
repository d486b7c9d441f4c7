import type { Program } from "../program/program.ts";

/** A pod may send before the agent knows of it. */
const EARLIER_MS = 10_000;

/** Since when workloads are known here. An address goes from one to the next, and the flows of the one before stay in conntrack for days. */
export class Beginnings {
  #program: Pick<Program, "workloadCount" | "workloadId"> | null = null;
  #since: ReadonlyMap<number, number> = new Map();

  /** `now` in milliseconds since the epoch. Those of the first program may have been there for as long as anything. */
  note(program: Pick<Program, "workloadCount" | "workloadId">, now: number): void {
    if (program === this.#program) return;
    const since = this.#program === null ? 0 : now - EARLIER_MS;
    const next = new Map<number, number>();
    for (let row = 0; row < program.workloadCount; row++) {
      const id = program.workloadId(row);
      next.set(id, this.#since.get(id) ?? since);
    }
    this.#since = next;
    this.#program = program;
  }

  /** An entry that began at `start` (0: nobody knows when) can be of this workload. */
  canBeOf(workloadId: number, start: number): boolean {
    return start === 0 || start >= (this.#since.get(workloadId) ?? 0);
  }
}
