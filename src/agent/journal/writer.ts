import { type Logger, RateLimit } from "../log.ts";
import { type JournalFile, Superseded } from "./file.ts";

const FLUSH_EVERY_MS = 50;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
const SAY_EVERY_MS = 10_000;
const CLOSE_LIMIT_MS = 1_000;
/** Records that are encoded without a pause for others on this thread. */
const SLICE = 500;

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
  /** Records of all that is live at the moment of the call; they may be encoded later, one by one. */
  readonly snapshot: () => Iterable<Buffer>;
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
  #queue: Buffer[] = [];
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

  /** Takes the frame of one record. */
  write(bytes: Buffer): void {
    // The compaction that is due will write what is live then.
    if (this.#behind && this.#working === null) return;
    if (this.#queuedBytes + bytes.length > this.#options.limits.queue) {
      this.#overflow(1);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
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
    if (!this.#behind && !full && this.#queue.length === 0 && this.#whenWritten === null) return;
    this.#working = this.#turn().finally(() => {
      this.#working = null;
    });
  }

  /** Never rejects. */
  async #turn(): Promise<void> {
    try {
      if (this.#behind || this.#options.file.size + this.#queuedBytes > this.#compactAt) await this.#compact();
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
    if (kept !== null && !kept.take(batch, this.#options.limits.queue)) this.#overflow(batch.length);
    if (this.#behind) return;
    try {
      await this.#options.file.append(batch);
      this.#counts.records += batch.length;
    } catch (error) {
      this.#behind = true;
      this.#counts.unwritten += batch.length;
      if (kept === null) throw error;
    }
  }

  #clearQueue(): Buffer[] {
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
      let slice: Buffer[] = [];
      for (const record of live) {
        slice.push(record);
        if (slice.length < SLICE) continue;
        await append(slice);
        slice = [];
        await this.#append(kept);
      }
      await append(slice);
      await this.#append(kept);
      await append(kept.records);
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

/** Records that came during a compaction, in order and bounded. */
class Kept {
  readonly records: Buffer[] = [];
  #bytes = 0;

  /** False: too many. */
  take(batch: readonly Buffer[], most: number): boolean {
    for (const record of batch) {
      this.#bytes += record.length;
      if (this.#bytes > most) return false;
      this.records.push(record);
    }
    return true;
  }
}
