import type { FlowTarget } from "./flow-file.ts";
import { countLines, endOfLines, FlowPage } from "./flow-page.ts";

const QUEUE_LIMIT_BYTES = 8 * 1024 * 1024;
const PAGE_BYTES = 256 * 1024;
/** Pages that are kept to be used again. */
const SPARE_PAGES = 2;
const FLUSH_AFTER_MS = 50;
const RETRY_AFTER_MS = 1_000;
const CLOSE_LIMIT_MS = 500;
/** A full disk costs no more than this of what it still had room for. */
const PIECE_BYTES = 16 * 1024;

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
 * The flow log: lines are written into pages, and pages go to a file or stdout in the background. It never makes anyone wait: what does not
 * fit into the bounded queue while the target is slow or full is counted, and the log itself says so once it can.
 */
export class FlowSink {
  readonly #options: FlowSinkOptions;
  #page: FlowPage | null = null;
  #queue: FlowPage[] = [];
  #queuedBytes = 0;
  readonly #spare: FlowPage[] = [];
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
    return { written: this.#writtenTotal, lost: this.#lostTotal, pendingBytes: this.#pending };
  }

  /** The target does not keep up, but it does take lines: who can wait with more should. */
  get behind(): boolean {
    return this.#pending > QUEUE_LIMIT_BYTES / 2 && performance.now() >= this.#retryAt;
  }

  get #pending(): number {
    return this.#queuedBytes + (this.#page?.length ?? 0);
  }

  /** Counts lines that were lost before they came here (a full ring), so that the log says so. */
  countLost(count: number): void {
    this.#lostTotal += count;
    this.#lostUnsaid += count;
    if (count > 0) this.#schedule(FLUSH_AFTER_MS);
  }

  /** A page with `room` more bytes for one line, to be followed by `written`. Null: there is no room, the line is counted as lost. */
  page(room: number): FlowPage | null {
    if (this.#closed || this.#pending + room > QUEUE_LIMIT_BYTES) {
      this.#lostTotal++;
      this.#lostUnsaid++;
      return null;
    }
    if (this.#page !== null && this.#page.length + room <= this.#page.bytes.length) return this.#page;
    this.#turnPage();
    const spare = room <= PAGE_BYTES ? this.#spare.pop() : undefined;
    this.#page = spare ?? new FlowPage(Math.max(room, PAGE_BYTES));
    return this.#page;
  }

  /** A line stands in the page. */
  written(page: FlowPage): void {
    page.lines++;
    this.#schedule(FLUSH_AFTER_MS);
  }

  /** Takes one line without its newline. */
  write(line: string): void {
    const page = this.page(Buffer.byteLength(line) + 1);
    if (page === null) return;
    page.length += page.bytes.write(`${line}\n`, page.length);
    this.written(page);
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

  #turnPage(): void {
    if (this.#queuePage()) this.#flushSoon();
  }

  /** False: nothing stands in the page. */
  #queuePage(): boolean {
    const page = this.#page;
    if (page === null || page.length === 0) return false;
    this.#page = null;
    this.#queue.push(page);
    this.#queuedBytes += page.length;
    return true;
  }

  #schedule(delay: number): void {
    if (this.#timer !== null || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#flushSoon();
    }, delay);
  }

  #flushSoon(): void {
    if (this.#writing !== null || this.#closed) return;
    const early = this.#retryAt - performance.now();
    // A timer that was set before the failure comes too early; without another, what is lost would stay unsaid.
    if (early > 0) {
      this.#schedule(early);
      return;
    }
    this.#writing = this.#flush().finally(() => {
      this.#writing = null;
      if (this.#queue.length > 0 && performance.now() >= this.#retryAt) this.#flushSoon();
      else if (this.#pending > 0 || this.#lostUnsaid > 0)
        this.#schedule(Math.max(FLUSH_AFTER_MS, this.#retryAt - performance.now()));
    });
  }

  async #flush(): Promise<void> {
    if (this.#ended) return;
    this.#queuePage();
    const lost = this.#lostUnsaid;
    const pages = this.#queue;
    if (pages.length === 0 && lost === 0) return;
    this.#queue = [];
    this.#lostUnsaid = 0;
    let failure: string | null = null;
    for (const page of pages) {
      let written = 0;
      if (failure === null) [written, failure] = await this.#writePage(page);
      this.#queuedBytes -= page.length;
      this.#writtenTotal += written;
      this.#lostTotal += page.lines - written;
      this.#lostUnsaid += page.lines - written;
      this.#keep(page);
    }
    if (lost > 0 && failure === null) failure = await this.#try(Buffer.from(`${this.#options.lostLine(lost)}\n`));
    if (failure === null) return;
    this.#lostUnsaid += lost;
    this.#retryAt = performance.now() + RETRY_AFTER_MS;
    this.#options.onTrouble(failure, this.#lostTotal);
    if (!this.#closed) await this.#options.target.close();
  }

  #keep(page: FlowPage): void {
    if (this.#spare.length >= SPARE_PAGES || page.bytes.length > PAGE_BYTES) return;
    page.length = 0;
    page.lines = 0;
    this.#spare.push(page);
  }

  /** How many lines the target has taken, and why no more; null: all. A page that fails as a whole is tried in pieces. */
  async #writePage(page: FlowPage): Promise<[written: number, failure: string | null]> {
    const bytes = page.bytes.subarray(0, page.length);
    const failure = await this.#try(bytes);
    if (failure === null) return [page.lines, null];
    if (bytes.length <= PIECE_BYTES || this.#closed) return [0, failure];
    let written = 0;
    for (let at = 0; at < bytes.length; ) {
      const end = endOfLines(bytes, at, PIECE_BYTES);
      const piece = bytes.subarray(at, end);
      const failed = await this.#try(piece);
      if (failed !== null) return [written, failed];
      written += countLines(piece);
      at = end;
    }
    return [written, null];
  }

  /** Null: the target has taken it. */
  async #try(bytes: Buffer): Promise<string | null> {
    try {
      await this.#options.target.write(bytes);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
