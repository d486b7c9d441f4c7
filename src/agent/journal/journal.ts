import type { FlowTuple } from "../../flow/event.ts";
import type { LiveFlow } from "../../flow/live-flows.ts";
import type { Workload } from "../../model/workload.ts";
import { type Binding, NameTable } from "../../names/table.ts";
import type { Program } from "../../program/program.ts";
import type { Logger } from "../log.ts";
import { REMEMBERED } from "../state.ts";
import type { JournalFile } from "./file.ts";
import { frame, readJournal, VERSION } from "./frame.ts";
import { Recollection } from "./recollection.ts";
import { RecordEncoder } from "./record.ts";
import { newestThatFit } from "./share.ts";
import { JournalTail } from "./tail.ts";
import { JournalWriter, type WriterCounts, type WriterLimits } from "./writer.ts";

const MIB = 1024 * 1024;
/** `live`: what a compaction leaves; `flows`: those of it that are flows. */
const LIMITS: JournalLimits = { file: 64 * MIB, compactFrom: 4 * MIB, queue: 8 * MIB, live: 48 * MIB, flows: 36 * MIB };
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
  readonly limits?: JournalLimits;
}

export interface JournalLimits extends WriterLimits {
  readonly live: number;
  readonly flows: number;
}

export interface JournalCounters extends WriterCounts {
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
  readonly #limits: JournalLimits;
  readonly #file: JournalFile;
  readonly #encoder = new RecordEncoder();
  readonly #writer: JournalWriter;
  #names: NameTable;
  #bindingLimit: number;
  #workloads = new Set<number>();
  #flows: () => Iterable<LiveFlow> = () => [];
  #leftOut = 0;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#file = options.file;
    const { file, log } = options;
    this.#writer = new JournalWriter({ file, limits: this.#limits, log, snapshot: () => this.#snapshot() });
    this.#bindingLimit = 1;
    this.#names = new NameTable({ bindingsPerWorkload: 1 });
  }

  get counters(): JournalCounters {
    return { ...this.#writer.counts, leftOut: this.#leftOut, size: this.#file.size };
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
          if (bytes.length > 0 && version !== VERSION)
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
    this.#writer.start();
  }

  /** Resolves when everything so far is on its way to the disk. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** The agent before this one has ended and what it noted is known here: its journal goes once this one holds it all. */
  alone(): void {
    this.#writer.whenWritten(() => this.#file.removeOther());
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
    if (bytes !== null) this.#writer.write(bytes);
  }

  closed(tuple: FlowTuple): void {
    this.#writer.write(frame(this.#encoder.bytes, this.#encoder.closed(tuple)));
  }

  learned(bindings: readonly Binding[]): void {
    const now = clock();
    for (const binding of bindings) {
      // A workload that went away while the message was under way; its id comes never again.
      if (!this.#workloads.has(binding.workloadId)) continue;
      this.#names.restore(binding, now);
      const bytes = this.#encodeBinding(binding);
      if (bytes !== null) this.#writer.write(bytes);
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
  close(): Promise<void> {
    return this.#writer.close();
  }

  /** Both are picked now and encoded later: what changes meanwhile is in the records that follow. */
  #snapshot(): Iterable<Buffer> {
    return this.#encodeAll(this.#liveBindings(), this.#openFlows());
  }

  *#encodeAll(bindings: readonly Binding[], flows: readonly LiveFlow[]): Generator<Buffer> {
    for (const binding of bindings) {
      const bytes = this.#encodeBinding(binding);
      if (bytes !== null) yield bytes;
    }
    for (const flow of flows) {
      const bytes = this.#encodeFlow(flow);
      if (bytes !== null) yield bytes;
    }
  }

  #liveBindings(): readonly Binding[] {
    const all = this.bindings();
    const bindings = newestThatFit(
      all,
      ({ workloadId }) => workloadId,
      ({ name, aliases }) => aliases.reduce((sum, alias) => sum + alias.length + 2, BINDING_BYTES + name.length),
      this.#limits.live - this.#limits.flows,
    );
    this.#leftOut += all.length - bindings.length;
    return bindings;
  }

  #openFlows(): readonly LiveFlow[] {
    const all = [...this.#flows()];
    const flows = newestThatFit(
      all,
      ({ workloadId }) => workloadId,
      ({ facts }) => facts.names.reduce((sum, name) => sum + name.length + 2, FLOW_BYTES),
      this.#limits.flows,
    );
    this.#leftOut += all.length - flows.length;
    return flows;
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
