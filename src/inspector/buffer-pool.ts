/** Bytes of the buffers that a pool lends: most hellos and heads fit. */
export const POOLED = 2048;

/** Buffers kept for the next flow. Most connections need one for some microseconds, and making one costs more than filling it. */
const MOST = 256;

/** Lends buffers of POOLED bytes. What is in them is of no account: a stream reads only what it has written. */
export class BufferPool {
  readonly #free: Uint8Array[] = [];

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(POOLED);
  }

  /** The giver must not use it again: the next flow writes into it. Others than lent ones are let go. */
  give(buffer: Uint8Array): void {
    if (buffer.length === POOLED && this.#free.length < MOST) this.#free.push(buffer);
  }
}
