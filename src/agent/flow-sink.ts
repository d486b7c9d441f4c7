import { type FileHandle, open, rename, stat } from "node:fs/promises";

const QUEUE_LIMIT_BYTES = 8 * 1024 * 1024;
const FLUSH_BYTES = 64 * 1024;
const FLUSH_AFTER_MS = 50;
const RETRY_AFTER_MS = 1_000;

export interface FlowSinkOptions {
  /** A file, or `-` for stdout. */
  readonly target: string;
  readonly maxSize: number;
  readonly keep: number;
  /** Told when a write fails, and how many lines were lost so far. */
  readonly onTrouble: (message: string, lost: number) => void;
  /** Makes the line that says how many lines are missing at this place of the log. */
  readonly lostLine: (count: number) => string;
}

/**
 * The flow log: lines go to a file or stdout in batches, in the background. It never makes anyone wait: what does not
 * fit into the bounded queue while the target is slow or full is counted, and the log itself says so once it can.
 */
export class FlowSink {
  readonly #options: FlowSinkOptions;
  #queue: string[] = [];
  #queuedBytes = 0;
  #handle: FileHandle | null = null;
  #size = 0;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #lostTotal = 0;
  #lostUnsaid = 0;
  #closed = false;

  constructor(options: FlowSinkOptions) {
    this.#options = options;
  }

  get lost(): number {
    return this.#lostTotal;
  }

  /** Counts lines that were lost before they came here (a full ring), so that the log says so. */
  countLost(count: number): void {
    this.#lostTotal += count;
    this.#lostUnsaid += count;
    if (count > 0) this.#schedule(FLUSH_AFTER_MS);
  }

  /** Takes one line without its newline. */
  write(line: string): void {
    if (this.#closed || this.#queuedBytes + line.length > QUEUE_LIMIT_BYTES) {
      this.#lostTotal++;
      this.#lostUnsaid++;
      return;
    }
    this.#queue.push(line);
    this.#queuedBytes += line.length + 1;
    if (this.#queuedBytes >= FLUSH_BYTES) this.#flushSoon();
    else this.#schedule(FLUSH_AFTER_MS);
  }

  /** Writes what is queued, once, and closes the file. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#writing;
    await this.#flush();
    await this.#handle?.close();
    this.#handle = null;
  }

  /** Closes the file so that the next line opens it anew: after another program has rotated it. */
  async reopen(): Promise<void> {
    await this.#writing;
    await this.#handle?.close();
    this.#handle = null;
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
    this.#writing = this.#flush().finally(() => {
      this.#writing = null;
      if (this.#queue.length > 0) this.#schedule(FLUSH_AFTER_MS);
    });
  }

  async #flush(): Promise<void> {
    if (this.#queue.length === 0 && this.#lostUnsaid === 0) return;
    const lost = this.#lostUnsaid;
    if (lost > 0) this.#queue.push(this.#options.lostLine(lost));
    const lines = this.#queue;
    const bytes = this.#queuedBytes;
    this.#queue = [];
    this.#lostUnsaid = 0;
    try {
      const text = `${lines.join("\n")}\n`;
      if (this.#options.target === "-") await writeStdout(text);
      else await this.#append(Buffer.from(text));
      this.#queuedBytes -= bytes;
    } catch (error) {
      this.#queuedBytes -= bytes;
      const failed = lost > 0 ? lines.length - 1 : lines.length;
      this.#lostTotal += failed;
      this.#lostUnsaid += failed + lost;
      this.#options.onTrouble(error instanceof Error ? error.message : String(error), this.#lostTotal);
      await this.#handle?.close().catch(() => undefined);
      this.#handle = null;
      this.#schedule(RETRY_AFTER_MS);
    }
  }

  async #append(data: Buffer): Promise<void> {
    if (this.#handle === null) {
      this.#handle = await open(this.#options.target, "a", 0o640);
      this.#size = (await stat(this.#options.target)).size;
    }
    if (this.#size > 0 && this.#size + data.length > this.#options.maxSize) await this.#rotate();
    await this.#handle.appendFile(data);
    this.#size += data.length;
  }

  async #rotate(): Promise<void> {
    const { target, keep } = this.#options;
    await this.#handle?.close();
    for (let i = keep; i > 1; i--) await rename(`${target}.${i - 1}`, `${target}.${i}`).catch(() => undefined);
    if (keep > 0) await rename(target, `${target}.1`);
    this.#handle = await open(target, keep > 0 ? "a" : "w", 0o640);
    this.#size = 0;
  }
}

function writeStdout(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
