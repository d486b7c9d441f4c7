/** Memory that threads share; plain memory in a browser page that is not cross-origin isolated. */
function memory(bytes: number): ArrayBufferLike {
  return typeof SharedArrayBuffer === "undefined" ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes);
}

export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(memory(length));
}

export function sharedWords(length: number): Uint32Array {
  return new Uint32Array(memory(length * 4));
}

export function shareWords(words: ArrayLike<number>): Uint32Array {
  const shared = sharedWords(words.length);
  shared.set(words);
  return shared;
}

/** A list of unsigned words that grows; `share` gives it away at its final length. */
export class WordList {
  private words = new Uint32Array(64);
  length = 0;

  push(...values: readonly number[]): void {
    for (const value of values) {
      if (this.length === this.words.length) this.grow();
      this.words[this.length++] = value;
    }
  }

  at(index: number): number {
    return this.words[index]!;
  }

  put(index: number, value: number): void {
    this.words[index] = value;
  }

  share(): Uint32Array {
    return shareWords(this.words.subarray(0, this.length));
  }

  private grow(): void {
    const larger = new Uint32Array(this.words.length * 2);
    larger.set(this.words);
    this.words = larger;
  }
}
