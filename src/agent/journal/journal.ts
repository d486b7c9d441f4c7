import type { FlowTuple } from "../../flow/event.ts";
import type { LiveFlow } from "../../flow/live-flows.ts";
import type { Workload } from "../../model/workload.ts";
import { type Binding, NameTable } from "../../names/table.ts";
import type { Program } from "../../program/program.ts";
import { type Logger, RateLimit } from "../log.ts";
import { REMEMBERED } from "../state.ts";
import { type JournalFile, Superseded } from "./file.ts";
import { frame, readJournal } from "./frame.ts";
import { Recollection } from "./recollection.ts";
import { RecordEncoder } from "./record.ts";
import { newestThatFit } from "./share.ts";
import { JournalTail } from "./tail.ts";

const MIB = 1024 * 1024;
/** No journal is longer; `compactFrom`: none is compacted that is shorter; `live`: what a compaction leaves. */
const LIMITS = { file: 64 * MIB, compactFrom: 4 * MIB, live: 48 * MIB, flows: 36 * MIB, queue: 8 * MIB };
const FLUSH_EVERY_MS = 50;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;
const SAY_EVERY_MS = 10_000;
const CLOSE_LIMIT_MS = 1_000;
/** Records that are encoded without a pause for others on this thread. */
const SLICE = 500;
/** Of an encoded flow and binding, besides its names: near enough to share room by. */
const FLOW_BYTES = 220;
const BINDING_BYTES = 80;

export interface JournalOptions {
  readonly file: JournalFile;
  /** Names this run of the agent in flow ids. */
  readonly run: string;
  readonly log: Logger;
  /** Names a workload across restarts; null: an id that nobody has. */
  readonly keyOf: (workloadId: number) => string | null;
  readonly limits?: typeof LIMITS;
}

export interface JournalCounters {
  /** Records handed to the disk. */
  readonly records: number;
  readonly compactions: number;
  readonly failures: number;
  /** Records that were not written because the queue was full or the disk refused; a compaction makes good for them. */
  readonly unwritten: number;
  /** Bindings and flows for which there was no room in a compaction. */
  readonly leftOut: number;
  /** Bytes of the file now. */
  readonly size: number;
}

/**
 * What a restart remembers: bindings, and the facts of decided flows. Written behind, in batches, from the main thread:
 * verdicts never wait for it. A record that a crash takes with it costs a question (a binding) or exactness (a flow is then
 * judged by its address), never safety: facts are data, and what is read is decided anew.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #limits: typeof LIMITS;
  readonly #file: JournalFile;
  readonly #encoder = new RecordEncoder();
  readonly #say = new RateLimit(SAY_EVERY_MS);
  #names: NameTable;
  #bindingLimit: number;
  #workloads = new Set<number>();
  #flows: () => Iterable<LiveFlow> = () => [];
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #working: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #compactAt = 0;
  /** The file is not what it should be: only a compaction makes it good. */
  #behind = true;
  /** Records were dropped since the compaction under way began. */
  #overflowed = false;
  #removeOther = false;
  #pause = FIRST_PAUSE_MS;
  #retryAt = 0;
  #counts = { records: 0, compactions: 0, failures: 0, unwritten: 0, leftOut: 0 };

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#file = options.file;
    this.#bindingLimit = 1;
    this.#names = new NameTable({ bindingsPerWorkload: 1 });
  }

  get counters(): JournalCounters {
    return { ...this.#counts, size: this.#file.size };
  }

  /**
   * Reads what an earlier agent left. What belongs to workloads that are gone is not used. Never throws: without a memory
   * the agent starts as if it were the first.
   */
  open(program: Program, workloads: readonly Workload[], bindingLimit: number): Recollection {
    this.setLimit(bindingLimit);
    this.setWorkloads(workloads);
    const ids = new Map(workloads.map(({ id }) => [this.#options.keyOf(id), id]));
    const recollection = new Recollection({ idOf: (key) => ids.get(key), program, names: this.#names, now: clock() });
    const { log } = this.#options;
    const { folder } = this.#file;
    try {
      for (const bytes of this.#file.read(this.#limits.file)) {
        const { records, refused, torn, version } = readJournal(bytes, (record) => recollection.take(record));
        const bindings = this.#names.bindings;
        const counts = { records, bindings, flows: recollection.size, refused, torn };
        if (version === null || records === 0) {
          if (bytes.length > 0 && version !== 1)
            log.warn(
              { event: "journal-ignored", folder, version },
              "the journal there is not of this version: nothing is remembered",
            );
        } else log.info({ event: "journal-read", ...counts });
      }
    } catch (error) {
      log.error(
        { event: "journal-unread", folder, error: String(error) },
        "the journal cannot be read: nothing is remembered",
      );
    }
    return recollection;
  }

  /** Begins to write. `flows`: those that are open, whenever the journal is written anew. */
  start(flows: () => Iterable<LiveFlow>): void {
    this.#flows = flows;
    this.#timer = setInterval(() => this.#work(), FLUSH_EVERY_MS);
    this.#work();
  }

  /** Resolves when everything so far is on its way to the disk. */
  async flush(): Promise<void> {
    await this.#working;
    this.#working ??= this.#turn().finally(() => {
      this.#working = null;
    });
    await this.#working;
  }

  /** The agent before this one has ended and what it noted is known here: its journal goes once this one holds it all. */
  alone(): void {
    this.#removeOther = true;
  }

  /** A reader of what the agent of the other generation notes from now on, and what it has noted. */
  otherTail(): JournalTail {
    return new JournalTail(this.#file.otherPath);
  }

  /** The workloads of today by what names them in a journal. */
  idsByKey(): ReadonlyMap<string | null, number> {
    return new Map([...this.#workloads].map((id) => [this.#options.keyOf(id), id]));
  }

  opened(flow: LiveFlow): void {
    const bytes = this.#encodeFlow(flow);
    if (bytes !== null) this.#enqueue(bytes);
  }

  closed(tuple: FlowTuple): void {
    this.#enqueue(frame(this.#encoder.bytes, this.#encoder.closed(tuple)));
  }

  learned(bindings: readonly Binding[]): void {
    const now = clock();
    for (const binding of bindings) {
      // A workload that went away while the message was under way; its id comes never again.
      if (!this.#workloads.has(binding.workloadId)) continue;
      this.#names.restore(binding, now);
      const bytes = this.#encodeBinding(binding);
      if (bytes !== null) this.#enqueue(bytes);
    }
  }

  /** All bindings that hold, least recently learned first: what a new packet lane starts with. */
  bindings(): readonly Binding[] {
    return [...this.#names.all(clock())];
  }

  setWorkloads(workloads: readonly Workload[]): void {
    const now = new Set(workloads.map(({ id }) => id));
    for (const id of this.#workloads) if (!now.has(id)) this.#names.forgetWorkload(id);
    this.#workloads = now;
  }

  /** Bindings kept of one workload, as in the lane. */
  setLimit(bindingsPerWorkload: number): void {
    if (bindingsPerWorkload === this.#bindingLimit) return;
    this.#bindingLimit = bindingsPerWorkload;
    const before = this.bindings();
    this.#names = new NameTable({ bindingsPerWorkload });
    for (const binding of before) this.#names.restore(binding, clock());
  }

  /** Writes what is queued; a disk that takes nothing is waited for only so long. */
  async close(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    const rest = (async () => {
      await this.#working;
      await this.#turn();
      await this.#file.close();
    })();
    await Promise.race([rest.catch(() => undefined), new Promise((done) => setTimeout(done, CLOSE_LIMIT_MS).unref())]);
  }

  #work(): void {
    if (this.#working !== null || performance.now() < this.#retryAt) return;
    const full = this.#file.size > this.#compactAt;
    if (!this.#behind && !full && this.#queue.length === 0 && !this.#removeOther) return;
    this.#working = this.#turn().finally(() => {
      this.#working = null;
    });
  }

  /** Never rejects. */
  async #turn(): Promise<void> {
    try {
      if (this.#behind || this.#file.size + this.#queuedBytes > this.#compactAt) await this.#compact();
      await this.#append();
      if (this.#removeOther && !this.#behind) this.#file.removeOther();
      if (!this.#behind) this.#removeOther = false;
      this.#pause = FIRST_PAUSE_MS;
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Takes what is queued and appends it, also to `kept`: records that come during a compaction belong behind it. */
  async #append(kept: Buffer[] | null = null): Promise<void> {
    const batch = this.#clearQueue();
    if (batch.length === 0) return;
    kept?.push(...batch);
    if (this.#behind) return;
    try {
      await this.#file.append(batch);
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

  /** Writes everything anew: what is open and bound now, then what came meanwhile. Replaying a record twice changes nothing. */
  async #compact(): Promise<void> {
    // What is queued for a file that is not good any more has been dropped in part; all of it shows in what is live.
    if (this.#behind) this.#clearQueue();
    this.#overflowed = false;
    const flows = this.#openFlows();
    const bound = this.bindings();
    const bindings = newestThatFit(
      bound,
      ({ workloadId }) => workloadId,
      ({ name, aliases }) => aliases.reduce((sum, alias) => sum + alias.length + 2, BINDING_BYTES + name.length),
      this.#limits.live - this.#limits.flows,
    );
    this.#counts.leftOut += bound.length - bindings.length;
    const kept: Buffer[] = [];
    await this.#file.replace(async (append) => {
      await this.#writeAll(bindings, (binding) => this.#encodeBinding(binding), append, kept);
      await this.#writeAll(flows, (flow) => this.#encodeFlow(flow), append, kept);
      if (kept.length > 0) await append(kept);
    });
    this.#behind = this.#overflowed;
    this.#counts.compactions++;
    this.#compactAt = Math.min(Math.max(this.#limits.compactFrom, 2 * this.#file.size), this.#limits.file);
  }

  async #writeAll<T>(
    items: readonly T[],
    encode: (item: T) => Buffer | null,
    append: (batch: readonly Buffer[]) => Promise<void>,
    kept: Buffer[],
  ): Promise<void> {
    for (let at = 0; at < items.length; at += SLICE) {
      const batch = items.slice(at, at + SLICE).flatMap((item) => encode(item) ?? []);
      if (batch.length > 0) await append(batch);
      await this.#append(kept);
    }
  }

  #openFlows(): readonly LiveFlow[] {
    const all = [...this.#flows()];
    const flows = newestThatFit(
      all,
      ({ workloadId }) => workloadId,
      ({ facts }) => facts.names.reduce((sum, name) => sum + name.length + 2, FLOW_BYTES),
      this.#limits.flows,
    );
    this.#counts.leftOut += all.length - flows.length;
    return flows;
  }

  #failed(error: unknown): void {
    this.#behind = true;
    this.#counts.failures++;
    this.#retryAt = performance.now() + this.#pause;
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    const { log } = this.#options;
    const { folder } = this.#file;
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

  #enqueue(bytes: Buffer): void {
    // The compaction that is due will write what is live then.
    if (this.#behind && this.#working === null) return;
    if (this.#queuedBytes + bytes.length > this.#limits.queue) {
      this.#counts.unwritten++;
      this.#behind = this.#overflowed = true;
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
  }

  /** Null: nothing to remember (nobody knows why it was allowed), or it does not fit. */
  #encodeFlow(flow: LiveFlow): Buffer | null {
    const key = this.#options.keyOf(flow.workloadId);
    if (key === null || flow.decision === REMEMBERED) return null;
    const length = this.#encoder.opened(key, { ...flow, run: flow.run ?? this.#options.run });
    return length === 0 ? null : frame(this.#encoder.bytes, length);
  }

  #encodeBinding(binding: Binding): Buffer | null {
    const key = this.#options.keyOf(binding.workloadId);
    const length = key === null ? 0 : this.#encoder.binding(key, binding);
    return length === 0 ? null : frame(this.#encoder.bytes, length);
  }
}

/** As the packet lane reads it: milliseconds since the epoch that never step back. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}
