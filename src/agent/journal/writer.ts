import { type Logger, RateLimit } from "../log.ts";
import { type JournalFile, Superseded } from "./file.ts";
import { type Frame, FrameBuilder } from "./frame.ts";

const FLUSH_EVERY_MS = 50;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
const SAY_EVERY_MS = 10_000;
const CLOSE_LIMIT_MS = 1_000;

/** Bytes. */
export interface WriterLimits {
  /** No journal is longer. */
  readonly file: number;
  /** None is compacted that is shorter. */
  readonly compactFrom: number;
  /** What waits for the disk. */
  readonly queue: number;
}

export interface JournalWriterOptions {
  readonly file: JournalFile;
  readonly limits: WriterLimits;
  readonly log: Logger;
  /** All that is live at the moment of the call, in frames; they may be made later, one by one. */
  readonly snapshot: () => Iterable<Frame>;
}

export interface WriterCounts {
  /** Records handed to the disk, those of compactions left out. */
  readonly records: number;
  readonly compactions: number;
  readonly failures: number;
  /** Records that were not written because the queue was full or the disk refused; a compaction makes good for them. */
  readonly unwritten: number;
}

/**
 * Brings records to the disk behind everybody's back: one append every 50 ms, and everything anew when the file has grown
 * or a write has failed. Only a compaction follows a failure, so a file never has a torn middle.
 */
export class JournalWriter {
  readonly #options: JournalWriterOptions;
  readonly #say = new RateLimit(SAY_EVERY_MS);
  #queue: Frame[] = [];
  readonly #builder = new FrameBuilder();
  #queuedBytes = 0;
  #working: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #compactAt = 0;
  /** The file is not what it should be: only a compaction makes it good. */
  #behind = true;
  /** Records were dropped since the compaction under way began. */
  #overflowed = false;
  #whenWritten: (() => void) | null = null;
  #pause = FIRST_PAUSE_MS;
  #retryAt = 0;
  #counts = { records: 0, compactions: 0, failures: 0, unwritten: 0 };

  constructor(options: JournalWriterOptions) {
    this.#options = options;
  }

  get counts(): WriterCounts {
    return { ...this.#counts };
  }

  start(): void {
    this.#timer = setInterval(() => this.#work(), FLUSH_EVERY_MS);
    this.#work();
  }

  /** Takes one record; its bytes may be used again at once. */
  write(record: Uint8Array, length: number): void {
    // The compaction that is due will write what is live then.
    if (this.#behind && this.#working === null) return;
    if (this.#queuedBytes + this.#builder.length + length > this.#options.limits.queue) {
      this.#overflow(1);
      return;
    }
    if (!this.#builder.fits(length)) this.#turnFrame();
    this.#builder.add(record, length);
  }

  #turnFrame(): void {
    const frame = this.#builder.take();
    if (frame === null) return;
    this.#queue.push(frame);
    this.#queuedBytes += frame.bytes.length;
  }

  /** Resolves when everything so far is on its way to the disk, or was refused by it. */
  async flush(): Promise<void> {
    await this.#working;
    this.#work(true);
    await this.#working;
  }

  /** Calls `then` once all that is live is in the file. */
  whenWritten(then: () => void): void {
    this.#whenWritten = then;
  }

  /** Writes what is queued; a disk that takes nothing is waited for only so long. */
  async close(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    const rest = (async () => {
      await this.#working;
      await this.#turn();
      await this.#options.file.close();
    })();
    await Promise.race([rest.catch(() => undefined), new Promise((done) => setTimeout(done, CLOSE_LIMIT_MS).unref())]);
  }

  #work(now = false): void {
    if (this.#working !== null || (!now && performance.now() < this.#retryAt)) return;
    const full = this.#options.file.size > this.#compactAt;
    const nothing = this.#queue.length === 0 && this.#builder.length === 0 && this.#whenWritten === null;
    if (!this.#behind && !full && nothing) return;
    this.#working = this.#turn().finally(() => {
      this.#working = null;
    });
  }

  /** Never rejects. */
  async #turn(): Promise<void> {
    try {
      if (this.#behind || this.#options.file.size + this.#queuedBytes + this.#builder.length > this.#compactAt)
        await this.#compact();
      await this.#append();
      if (!this.#behind) this.#tellWritten();
      this.#pause = FIRST_PAUSE_MS;
    } catch (error) {
      this.#failed(error);
    }
  }

  #tellWritten(): void {
    const told = this.#whenWritten;
    this.#whenWritten = null;
    told?.();
  }

  /** Takes what is queued and appends it, also to `kept`: records that come during a compaction belong behind it. */
  async #append(kept: Kept | null = null): Promise<void> {
    const batch = this.#clearQueue();
    if (batch.length === 0) return;
    const records = recordsOf(batch);
    if (kept !== null && !kept.take(batch, this.#options.limits.queue)) this.#overflow(records);
    if (this.#behind) return;
    try {
      await this.#options.file.append(batch.map(({ bytes }) => bytes));
      this.#counts.records += records;
    } catch (error) {
      this.#behind = true;
      this.#counts.unwritten += records;
      if (kept === null) throw error;
    }
  }

  #clearQueue(): Frame[] {
    this.#turnFrame();
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    return queue;
  }

  /** Writes everything anew: what is live now, then what came meanwhile. Replaying a record twice changes nothing. */
  async #compact(): Promise<void> {
    const { file, limits, snapshot } = this.#options;
    // What is queued for a file that is not good any more has been dropped in part; all of it shows in what is live.
    if (this.#behind) this.#clearQueue();
    this.#overflowed = false;
    const live = snapshot();
    const kept = new Kept();
    await file.replace(async (append) => {
      for (const { bytes } of live) {
        await append([bytes]);
        await this.#append(kept);
      }
      await this.#append(kept);
      await append(kept.frames.map(({ bytes }) => bytes));
    });
    this.#behind = this.#overflowed;
    this.#counts.compactions++;
    this.#compactAt = Math.min(Math.max(limits.compactFrom, 2 * file.size), limits.file);
  }

  #overflow(records: number): void {
    this.#counts.unwritten += records;
    this.#behind = this.#overflowed = true;
  }

  #failed(error: unknown): void {
    this.#behind = true;
    this.#counts.failures++;
    this.#retryAt = performance.now() + this.#pause;
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    const { log, file } = this.#options;
    const { folder } = file;
    if (error instanceof Superseded) {
      this.#retryAt = Number.POSITIVE_INFINITY;
      log.warn({ event: "journal-superseded", folder }, "another agent keeps the journal now");
      return;
    }
    const suppressed = this.#say.allow(performance.now());
    if (suppressed === null) return;
    const { unwritten } = this.#counts;
    log.error(
      { event: "journal-failed", folder, error: String(error), unwritten, suppressed },
      "the journal cannot be written; verdicts go on, a restart would remember less",
    );
  }
}

function recordsOf(batch: readonly Frame[]): number {
  return batch.reduce((sum, { records }) => sum + records, 0);
}

/** What came during a compaction, in order and bounded. */
class Kept {
  readonly frames: Frame[] = [];
  #bytes = 0;

  /** False: too much. */
  take(batch: readonly Frame[], most: number): boolean {
    for (const frame of batch) {
      this.#bytes += frame.bytes.length;
      if (this.#bytes > most) return false;
      this.frames.push(frame);
    }
    return true;
  }
}
