/** Ids are not used again, and pods come and go. */
const MOST = 65_536;

/** How many flows of each workload were decided, since this began. */
export class FlowCounts {
  readonly #counts = new Map<number, number>();

  add(workloadId: number): void {
    const before = this.#counts.get(workloadId);
    if (before === undefined && this.#counts.size >= MOST) this.#counts.clear();
    this.#counts.set(workloadId, (before ?? 0) + 1);
  }

  of(workloadId: number): number {
    return this.#counts.get(workloadId) ?? 0;
  }
}
