import type { InspectorCounters } from "../../inspector/contract.ts";
import type { QueueCounters } from "../../kernel/queue-counters.ts";
import { PULSE, PULSE_SLOTS } from "../lane-messages.ts";
import { LATENCY_SLOTS } from "./latency.ts";

/** What counts in the lane's thread. */
export interface LaneParts {
  readonly inspector: { readonly counters: InspectorCounters; readonly flows: number };
  readonly names: { readonly bindings: number; readonly evicted: number };
  readonly injector: { readonly errors: number };
  readonly strict: { readonly counters: QueueCounters };
  readonly observed: { readonly counters: QueueCounters };
  /** Null: the kernel opens nothing by itself. */
  readonly carried: {
    readonly read: number;
    readonly syns: { readonly received: number; readonly lost: number };
  } | null;
  /** Packets that were received and have no verdict yet. */
  readonly waiting: { readonly size: number };
  /** Packets of our own in the strict queue. */
  readonly ballast: { readonly size: number; readonly taken: number };
}

/** Plain stores, no look-up by name and no garbage: this runs at every turn of the lane. */
export function publishLane(pulse: Float64Array, parts: LaneParts): void {
  const { counters, flows } = parts.inspector;
  const strict = parts.strict.counters;
  const observed = parts.observed.counters;
  pulse[PULSE.packets] = strict.received + observed.received - parts.ballast.taken;
  pulse[PULSE.lostVerdicts] = strict.lostVerdicts + observed.lostVerdicts;
  pulse[PULSE.refusedVerdicts] = strict.refusedVerdicts + observed.refusedVerdicts;
  pulse[PULSE.injectErrors] = parts.injector.errors;
  pulse[PULSE.bindings] = parts.names.bindings;
  pulse[PULSE.evicted] = parts.names.evicted;
  pulse[PULSE.flows] = flows;
  pulse[PULSE.waiting] = parts.waiting.size;
  pulse[PULSE.ballast] = parts.ballast.size;
  pulse[PULSE.malformed] = counters.malformed;
  pulse[PULSE.held] = counters.held;
  pulse[PULSE.ambiguousCopies] = counters.ambiguousCopies;
  pulse[PULSE.droppedCopies] = counters.droppedCopies;
  pulse[PULSE.limitReached] = counters.limitReached;
  pulse[PULSE.unknownSources] = counters.unknownSources;
  pulse[PULSE.dnsQuestions] = counters.dnsQuestions;
  pulse[PULSE.dnsDenied] = counters.dnsDenied;
  pulse[PULSE.dnsUnasked] = counters.dnsUnasked;
  pulse[PULSE.resolutions] = counters.resolutions;
  if (parts.carried === null) return;
  pulse[PULSE.carriedRead] = parts.carried.read;
  pulse[PULSE.synsRead] = parts.carried.syns.received;
  pulse[PULSE.synsLost] = parts.carried.syns.lost;
}

/** What is true of the running lane only; the rest of the pulse counts up. */
const STATES: ReadonlySet<number> = new Set([PULSE.epoch, PULSE.bindings, PULSE.flows, PULSE.waiting, PULSE.ballast]);

/** The numbers of all lanes of this agent: one that replaces another begins at zero, what is counted here goes on. */
export class LaneNumbers {
  readonly #pulse: () => Float64Array;
  #current: Float64Array;
  readonly #former = new Float64Array(PULSE_SLOTS);

  constructor(pulse: () => Float64Array) {
    this.#pulse = pulse;
    this.#current = pulse();
  }

  /** Notices a new lane. To be called at every replacement, so that none is skipped. */
  refresh(): void {
    const pulse = this.#pulse();
    if (pulse === this.#current) return;
    for (const [slot, value] of this.#current.entries()) if (!STATES.has(slot)) this.#former[slot]! += value;
    this.#current = pulse;
  }

  read(slot: number): number {
    this.refresh();
    return this.#current[slot]! + this.#former[slot]!;
  }

  /** A copy of the histogram of verdict times (latency.ts). */
  verdictTimes(): Float64Array {
    return Float64Array.from({ length: LATENCY_SLOTS }, (_, i) => this.read(PULSE.verdictTimes + i));
  }
}
