import type { FlowTuple } from "../../flow/event.ts";
import { keyOf, type LiveFlow } from "../../flow/live-flows.ts";
import { isBindable } from "../../inspector/dns/bindable.ts";
import type { NameTable } from "../../names/table.ts";
import type { Program } from "../../program/program.ts";
import type { JournalRecord } from "./record.ts";

/** No binding is learned for longer (names/table.ts); a clock that was set back must not make one. */
const LONGEST_BINDING_MS = 604_800_000;
/** Belongs to no workload of today: what it opened must end, whoever has its address now. */
const NOBODY = -1;
/** A flow is decided when its first packets wait; its entry begins when they have gone on. */
const DECIDED_BEFORE_ENTRY_MS = 1_000;

export interface RecollectionOptions {
  /** The workload of today that a key names; undefined: it is gone. */
  readonly idOf: (key: string) => number | undefined;
  readonly program: Program;
  readonly names: NameTable;
  readonly now: number;
}

/** What the records of a journal add up to: open flows, and bindings in a NameTable. */
export class Recollection {
  readonly #options: RecollectionOptions;
  readonly #flows = new Map<string, LiveFlow>();

  constructor(options: RecollectionOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#flows.size;
  }

  take(record: JournalRecord): void {
    if (record.kind === "binding") this.#bind(record);
    else if (record.kind === "closed") this.#flows.delete(keyOf(record.tuple));
    else {
      const workloadId = this.#options.idOf(record.key) ?? NOBODY;
      this.#flows.set(keyOf(record.flow.tuple), { ...record.flow, workloadId });
    }
  }

  /**
   * What is remembered of a flow that conntrack knows, once. `start`: when its entry began, 0 if it does not say. An entry that
   * began after the decision is that of a later flow with the same ports.
   */
  recall(tuple: FlowTuple, start: number): LiveFlow | null {
    const key = keyOf(tuple);
    const flow = this.#flows.get(key);
    if (flow === undefined || start > flow.since + DECIDED_BEFORE_ENTRY_MS) return null;
    return flow;
  }

  /** Rules may have changed since: what could not be bound now is not. */
  #bind({ key, binding }: JournalRecord & { readonly kind: "binding" }): void {
    const { idOf, program, names, now } = this.#options;
    const workloadId = idOf(key);
    if (workloadId === undefined || !isBindable(program, binding.name, binding.address)) return;
    const expires = Math.min(binding.expires, now + LONGEST_BINDING_MS);
    names.restore({ ...binding, workloadId, expires }, now);
  }
}
