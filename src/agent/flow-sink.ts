import type { FlowTarget } from "./flow-file.ts";

const QUEUE_LIMIT_BYTES = 8 * 1024 * 1024;
const FLUSH_BYTES = 64 * 1024;
const FLUSH_AFTER_MS = 50;
const RETRY_AFTER_MS = 1_000;
const CLOSE_LIMIT_MS = 500;
const NEWLINE = 1;
/** A full disk costs no more than this of what it still had room for. */
const PIECE_BYTES = 16 * 1024;
/** While all goes well: each piece costs a turn of a busy event loop, and in small ones the log falls behind. */
const LARGEST_PIECE_BYTES = 1024 * 1024;

export interface FlowSinkOptions {
  readonly target: FlowTarget;
  /** Told when a write fails, and how many lines were lost so far. */
  readonly onTrouble: (message: string, lost: number) => void;
  /** Makes the line that says how many lines are missing at this place of the log. */
  readonly lostLine: (count: number) => string;
}

export interface FlowSinkCounts {
  readonly written: number;
  readonly lost: number;
  /** Bytes that wait to be written. */
  readonly pendingBytes: number;
}

/**
 * The flow log: lines go to a file or stdout in batches, in the background. It never makes anyone wait: what does not
 * fit into the bounded queue while the target is slow or full is counted, and the log itself says so once it can.
 */
export class FlowSink {
  readonly #options: FlowSinkOptions;
  #queue: string[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #retryAt = 0;
  #writtenTotal = 0;
  #lostTotal = 0;
  #lostUnsaid = 0;
  #closed = false;
  #ended = false;

  constructor(options: FlowSinkOptions) {
    this.#options = options;
  }

  get counts(): FlowSinkCounts {
    return { written: this.#writtenTotal, lost: this.#lostTotal, pendingBytes: this.#queuedBytes };
  }

  /** Counts lines that were lost before they came here (a full ring), so that the log says so. */
  countLost(count: number): void {
    this.#lostTotal += count;
    this.#lostUnsaid += count;
    if (count > 0) this.#schedule(FLUSH_AFTER_MS);
  }

  /** Takes one line without its newline. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line) + NEWLINE;
    if (this.#closed || this.#queuedBytes + bytes > QUEUE_LIMIT_BYTES) {
      this.#lostTotal++;
      this.#lostUnsaid++;
      return;
    }
    this.#queue.push(line);
    this.#queuedBytes += bytes;
    if (this.#queuedBytes >= FLUSH_BYTES) this.#flushSoon();
    else this.#schedule(FLUSH_AFTER_MS);
  }

  /** Writes what is queued, once, and closes the target; a target that takes nothing is waited for only so long. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const rest = (async () => {
      await this.#writing;
      await this.#flush();
    })();
    await Promise.race([rest, new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT_MS))]);
    this.#ended = true;
    await this.#options.target.close();
  }

  /** Closes the target so that the next line opens it anew: after another program has rotated the file. */
  async reopen(): Promise<void> {
    await this.#writing;
    if (!this.#closed) await this.#options.target.close();
  }

  #schedule(delay: number): void {
    if (this.#timer !== null || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#flushSoon();
    }, delay);
  }

  #flushSoon(): void {
    if (this.#writing !== null) return;
    const early = this.#retryAt - performance.now();
    // A timer that was set before the failure comes too early; without another, what is lost would stay unsaid.
    if (early > 0) {
      this.#schedule(early);
      return;
    }
    this.#writing = this.#flush().finally(() => {
      this.#writing = null;
      const wait = Math.max(FLUSH_AFTER_MS, this.#retryAt - performance.now());
      if (this.#queue.length > 0 || this.#lostUnsaid > 0) this.#schedule(wait);
    });
  }

  async #flush(): Promise<void> {
    if (this.#ended || (this.#queue.length === 0 && this.#lostUnsaid === 0)) return;
    const lost = this.#lostUnsaid;
    const lines = this.#queue;
    const bytes = this.#queuedBytes;
    this.#queue = [];
    this.#lostUnsaid = 0;
    const texts = lost > 0 ? [...lines, this.#options.lostLine(lost)] : lines;
    const written = await this.#writePieces(texts);
    this.#queuedBytes -= bytes;
    this.#writtenTotal += Math.min(written, lines.length);
    const left = Math.max(0, lines.length - written);
    this.#lostTotal += left;
    this.#lostUnsaid += left + (written < texts.length ? lost : 0);
  }

  /** Returns how many lines the target has taken; it takes no more after the first failure. */
  async #writePieces(lines: readonly string[]): Promise<number> {
    let written = 0;
    let most = PIECE_BYTES;
    while (written < lines.length) {
      const piece: Buffer[] = [];
      for (let bytes = 0; written + piece.length < lines.length && bytes < most; ) {
        const line = Buffer.from(`${lines[written + piece.length]}\n`);
        piece.push(line);
        bytes += line.length;
      }
      try {
        await this.#options.target.write(piece);
      } catch (error) {
        if (most > PIECE_BYTES && !this.#closed) {
          most = PIECE_BYTES;
          continue;
        }
        this.#retryAt = performance.now() + RETRY_AFTER_MS;
        const lost = this.#lostTotal + lines.length - written;
        this.#options.onTrouble(error instanceof Error ? error.message : String(error), lost);
        if (!this.#closed) await this.#options.target.close();
        return written;
      }
      written += piece.length;
      most = Math.min(most * 2, LARGEST_PIECE_BYTES);
    }
    return written;
  }
}
