/** Longer than a record of a SYN is on its way, and than the lane stands still between two of them. */
export const DOUBT_MS = 2_000;

/**
 * When it is not known of SYNs that go on unasked whether they are the only ones of their connections that were told of: records were lost, or
 * some were read and not kept. Then none is believed, for a while.
 */
export class SynDoubt {
  #until = 0;
  readonly #ofWorkload = new Map<number, number>();

  /** Records were lost; nobody knows whose. */
  ofAll(now: number): void {
    this.#until = now + DOUBT_MS;
  }

  /** A record of this workload was read, and nothing is remembered of it. */
  of(workloadId: number, now: number): void {
    this.#ofWorkload.set(workloadId, now + DOUBT_MS);
  }

  holds(workloadId: number, now: number): boolean {
    return now < this.#until || now < (this.#ofWorkload.get(workloadId) ?? 0);
  }

  forget(workloadId: number): void {
    this.#ofWorkload.delete(workloadId);
  }
}
