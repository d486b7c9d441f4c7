import type { FlowTuple } from "../../flow/event.ts";
import type { LiveFlow } from "../../flow/live-flows.ts";
import { isBindable } from "../../inspector/dns/bindable.ts";
import type { Binding } from "../../names/table.ts";
import type { Program } from "../../program/program.ts";
import type { JournalRecord } from "../journal/record.ts";
import type { JournalTail } from "../journal/tail.ts";

/** No binding is learned for longer (names/table.ts). */
const LONGEST_BINDING_MS = 604_800_000;
/** The workload is gone: its flow ends at the next change. */
const NOBODY = -1;

export interface Heirs {
  /** The workloads of today by what names them in a journal. */
  idsByKey(): ReadonlyMap<string | null, number>;
  program(): Program;
  bound(bindings: readonly Binding[]): void;
  opened(flow: LiveFlow): void;
  closed(tuple: FlowTuple): void;
}

/**
 * What the agent before this one still decides and learns while it follows its last flows, read from its journal as it
 * writes it. Data, not trust: a binding counts where a rule of now could bind it, a flow is decided anew at the next change.
 */
export class Inheritance {
  readonly #tail: JournalTail;
  readonly #heirs: Heirs;

  constructor(tail: JournalTail, heirs: Heirs) {
    this.#tail = tail;
    this.#heirs = heirs;
  }

  /** Takes what is new. Never throws. */
  take(): void {
    const records: JournalRecord[] = [];
    if (this.#tail.read((record) => records.push(record)) === 0) return;
    const heirs = this.#heirs;
    const ids = heirs.idsByKey();
    const program = heirs.program();
    const latest = performance.timeOrigin + performance.now() + LONGEST_BINDING_MS;
    const bindings: Binding[] = [];
    for (const record of records) {
      if (record.kind === "closed") {
        heirs.closed(record.tuple);
        continue;
      }
      const workloadId = ids.get(record.key) ?? NOBODY;
      if (record.kind === "opened") heirs.opened({ ...record.flow, workloadId });
      else if (workloadId !== NOBODY && isBindable(program, record.binding.name, record.binding.address))
        bindings.push({ ...record.binding, workloadId, expires: Math.min(record.binding.expires, latest) });
    }
    if (bindings.length > 0) heirs.bound(bindings);
  }

  close(): void {
    this.#tail.close();
  }
}
