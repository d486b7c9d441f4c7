import type { FlowTuple } from "../../flow/event.ts";
import { LiveFlows } from "../../flow/live-flows.ts";
import type { PackedEvent } from "../../flow/packed-event.ts";
import type { Workload } from "../../model/workload.ts";
import { type Binding, NameTable } from "../../names/table.ts";
import type { Program } from "../../program/program.ts";
import type { Logger } from "../log.ts";
import { REMEMBERED } from "../state.ts";
import type { JournalFile } from "./file.ts";
import { type Frame, FrameBuilder, readJournal, VERSION } from "./frame.ts";
import { Recollection } from "./recollection.ts";
import { RecordEncoder } from "./record.ts";
import { fairShare, newestThatFit } from "./share.ts";
import { JournalTail } from "./tail.ts";
import { JournalWriter, type WriterCounts, type WriterLimits } from "./writer.ts";

const MIB = 1024 * 1024;
/** `live`: what a compaction leaves; `flows`: those of it that are flows. */
const LIMITS: JournalLimits = { file: 64 * MIB, compactFrom: 4 * MIB, queue: 8 * MIB, live: 48 * MIB, flows: 36 * MIB };
/** Of a flow's record, besides the flow as it is kept: names of workload, run, policy and rule. */
const FLOW_BYTES = 120;
/** Of an encoded binding, besides its names: near enough to share room by. */
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
  #flows = new LiveFlows({ total: 0, perWorkload: 0 });
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
  start(flows: LiveFlows): void {
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

  /** `flow`: as it is kept, borrowed; `run`: of the agent that numbered it, null: this one. */
  opened(flow: PackedEvent, run: string | null): void {
    const length = this.#encodeFlow(flow, run);
    if (length > 0) this.#writer.write(this.#encoder.bytes, length);
  }

  closed(flow: FlowTuple | PackedEvent): void {
    this.#writer.write(this.#encoder.bytes, this.#encoder.closed(flow));
  }

  learned(bindings: readonly Binding[]): void {
    const now = clock();
    for (const binding of bindings) {
      // A workload that went away while the message was under way; its id comes never again.
      if (!this.#workloads.has(binding.workloadId)) continue;
      this.#names.restore(binding, now);
      const length = this.#encodeBinding(binding);
      if (length > 0) this.#writer.write(this.#encoder.bytes, length);
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

  /** Encoded later, bit by bit: what changes meanwhile is in the records that follow. */
  #snapshot(): Iterable<Frame> {
    return this.#encodeAll(this.#liveBindings(), this.#oldest());
  }

  *#encodeAll(bindings: readonly Binding[], oldest: ReadonlyMap<number, number>): Generator<Frame> {
    const builder = new FrameBuilder();
    for (const binding of bindings) {
      const length = this.#encodeBinding(binding);
      if (length > 0) yield* this.#add(builder, length);
    }
    const flows = this.#flows;
    for (const handle of flows.handles()) {
      const flow = flows.view(handle);
      if (flow.time < (oldest.get(flow.workloadId) ?? 0)) continue;
      const length = this.#encodeFlow(flow, flows.runOf(handle));
      if (length > 0) yield* this.#add(builder, length);
    }
    const last = builder.take();
    if (last !== null) yield last;
  }

  /** Adds what the encoder holds. Between two frames others may encode. */
  *#add(builder: FrameBuilder, length: number): Generator<Frame> {
    const full = builder.fits(length) ? null : builder.take();
    builder.add(this.#encoder.bytes, length);
    if (full !== null) yield full;
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

  /**
   * Where not all flows find room: since when those of a workload have begun that do, the newest in the fair share of each. Not in it:
   * a workload all of whose flows fit.
   */
  #oldest(): ReadonlyMap<number, number> {
    const flows = this.#flows;
    const totals = [...flows.shares()].map(([id, share]) => [id, share.bytes + share.flows * FLOW_BYTES] as const);
    const share = fairShare(
      totals.map(([, bytes]) => bytes),
      this.#limits.flows,
    );
    const ages = new Map<number, { time: number; bytes: number }[]>();
    for (const [id, bytes] of totals) if (bytes > share) ages.set(id, []);
    if (ages.size === 0) return new Map();
    for (const handle of flows.handles()) {
      const { workloadId, time, length } = flows.view(handle);
      ages.get(workloadId)?.push({ time, bytes: length + FLOW_BYTES });
    }
    return new Map([...ages].map(([id, of]) => [id, this.#since(of, share)]));
  }

  #since(flows: { time: number; bytes: number }[], share: number): number {
    flows.sort((a, b) => b.time - a.time);
    let left = share;
    let since = Number.POSITIVE_INFINITY;
    for (const [at, { time, bytes }] of flows.entries()) {
      left -= bytes;
      if (left < 0) {
        this.#leftOut += flows.length - at;
        break;
      }
      since = time;
    }
    return since;
  }

  /** Its length in the encoder; 0: nothing to remember (nobody knows why it was allowed), or it does not fit. */
  #encodeFlow(flow: PackedEvent, run: string | null): number {
    const key = this.#options.keyOf(flow.workloadId);
    if (key === null || flow.decision === REMEMBERED) return 0;
    return this.#encoder.opened(key, run ?? this.#options.run, flow);
  }

  /** Its length in the encoder; 0: it does not fit. */
  #encodeBinding(binding: Binding): number {
    const key = this.#options.keyOf(binding.workloadId);
    return key === null ? 0 : this.#encoder.binding(key, binding);
  }
}

/** As the packet lane reads it: milliseconds since the epoch that never step back. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}
