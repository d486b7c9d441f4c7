import { ByteWriter, type Page, pageOf } from "./bytes.ts";
import { ENDING_BYTES, type FlowEnding, PackedEnding, packEnding } from "./ending.ts";

/** Header words; the first two count endings and wrap at 2^32. */
const WRITTEN = 0;
const READ = 1;
const OVERRUNS = 2;
const OVER = 3;
const HEADER_BYTES = 64;
/** A power of two, so that counts stay true when they wrap. */
const SLOTS = 8192;
const FULL_WAIT_MS = 10;

export function createEndingRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + SLOTS * ENDING_BYTES);
}

function pageIn(ring: SharedArrayBuffer): Page {
  return pageOf(new Uint8Array(ring, HEADER_BYTES, SLOTS * ENDING_BYTES));
}

/** The writing end of a ring of endings, in the thread that reads them from the kernel. It may wait: what it does not read yet, the kernel keeps. */
export class EndingWriter {
  readonly #header: Int32Array;
  readonly #writer: ByteWriter;

  constructor(ring: SharedArrayBuffer) {
    this.#header = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#writer = new ByteWriter(pageIn(ring));
  }

  /** Waits for room for as long as `goOn` says. */
  write(ending: FlowEnding, goOn: () => boolean): void {
    const header = this.#header;
    const written = Atomics.load(header, WRITTEN);
    for (;;) {
      const read = Atomics.load(header, READ);
      if ((written - read) >>> 0 < SLOTS) break;
      if (!goOn()) return;
      Atomics.wait(header, READ, read, FULL_WAIT_MS);
    }
    this.#writer.back((written & (SLOTS - 1)) * ENDING_BYTES);
    packEnding(ending, this.#writer);
    Atomics.store(header, WRITTEN, (written + 1) | 0);
  }

  /**
   * Times that the kernel dropped endings because nobody read fast enough, and how many of these are over: all that came
   * before has been read.
   */
  overruns(count: number, over: number): void {
    Atomics.store(this.#header, OVERRUNS, count);
    Atomics.store(this.#header, OVER, over);
  }
}

/** The reading end; one at a time. */
export class EndingReader {
  readonly #header: Int32Array;
  readonly #ending = new PackedEnding();
  #held = 0;

  constructor(ring: SharedArrayBuffer) {
    this.#header = new Int32Array(ring, 0, HEADER_BYTES / 4);
    this.#ending.page = pageIn(ring);
  }

  get overruns(): number {
    return Atomics.load(this.#header, OVERRUNS);
  }

  /** Those of them that are over. */
  get overrunsOver(): number {
    return Atomics.load(this.#header, OVER);
  }

  /** The next one, borrowed until the next call; null when there is none now. */
  read(): PackedEnding | null {
    const header = this.#header;
    const read = (Atomics.load(header, READ) + this.#held) | 0;
    if (this.#held > 0) Atomics.store(header, READ, read);
    this.#held = 0;
    if (read === Atomics.load(header, WRITTEN)) return null;
    this.#held = 1;
    this.#ending.at = (read & (SLOTS - 1)) * ENDING_BYTES;
    return this.#ending;
  }
}
