const LINE_FEED = 0x0a;
const FIRST_BYTES = 4 * 1024;
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Texts one after the other as bytes, with a line feed between. As strings they would live just long enough for the garbage collector to take
 * them for something that stays.
 */
export class GatheredTexts {
  #bytes = new Uint8Array(FIRST_BYTES);
  /** Where each ends. */
  readonly #ends: number[] = [];

  get count(): number {
    return this.#ends.length;
  }

  /** In bytes. */
  get size(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** All of them. They are overwritten after the next `clear`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** @returns its position */
  add(text: string): number {
    const index = this.count;
    const start = this.#start(index);
    for (;;) {
      const { read, written } = ENCODER.encodeInto(text, this.#bytes.subarray(start));
      if (read === text.length) {
        if (index > 0) this.#bytes[start - 1] = LINE_FEED;
        this.#ends.push(start + written);
        return index;
      }
      this.#grow(start + text.length + 1);
    }
  }

  of(index: number): string {
    return DECODER.decode(this.#bytes.subarray(this.#start(index), this.#ends[index]));
  }

  clear(): void {
    this.#ends.length = 0;
  }

  #start(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1]! + 1;
  }

  #grow(least: number): void {
    const larger = new Uint8Array(Math.max(least, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
