import type { FlowTuple } from "../flow/event.ts";
import { keyOf } from "../flow/live-flows.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { type Logger, RateLimit } from "./log.ts";
import { findEntry, flowOf } from "./translation.ts";
import { Turns } from "./turns.ts";

/** That wait for their turn; the lane doubts the others again in its next round. */
const MOST = 16_384;
/** What is asked together waits for more, since it may take a walk over all entries. */
const GATHER_MS = 1_000;
/** So many times as long as the last answers took, the next wait: never more than a tenth of the thread. */
const REST = 9;

export interface DoubtedFlowsOptions {
  readonly conntrack: Pick<Conntrack, "dumpInPieces" | "get" | "dump">;
  /** Takes those that conntrack does not know. */
  readonly onUnknown: (flows: readonly FlowTuple[]) => void;
  readonly log: Logger;
  readonly gatherMs?: number;
}

/**
 * Asks conntrack about flows of which the lane has heard nothing for a while (inspector/silent-flows.ts). To ask has a second use: an entry
 * that is over is found out by the kernel at the next look at it, and else when it comes by, which may take a minute.
 */
export class DoubtedFlows {
  readonly #options: DoubtedFlowsOptions;
  readonly #troubles = new RateLimit(10_000);
  readonly #doubted = new Map<string, FlowTuple>();
  #timer: NodeJS.Timeout | null = null;
  #under: Promise<void> | null = null;
  #closed = false;
  /** Flows that conntrack did not know; monotonic. */
  unknown = 0;

  constructor(options: DoubtedFlowsOptions) {
    this.#options = options;
  }

  add(flows: readonly FlowTuple[]): void {
    for (const flow of flows) if (this.#doubted.size < MOST) this.#doubted.set(keyOf(flow), flow);
    this.#in(this.#gather);
  }

  /** No more of it; resolves when none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#under;
  }

  get #gather(): number {
    return this.#options.gatherMs ?? GATHER_MS;
  }

  #in(ms: number): void {
    if (this.#closed || this.#timer !== null || this.#under !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const started = performance.now();
      this.#under = this.#run().finally(() => {
        this.#under = null;
        if (this.#doubted.size > 0) this.#in(Math.max(this.#gather, (performance.now() - started) * REST));
      });
    }, ms);
  }

  async #run(): Promise<void> {
    const doubted = new Map(this.#doubted);
    this.#doubted.clear();
    try {
      await this.#forgetKnown(doubted);
    } catch (error) {
      // Nothing is given up for it; the lane doubts them again.
      const suppressed = this.#troubles.allow(performance.now());
      const words = { event: "conntrack-unasked", error: String(error), suppressed };
      if (suppressed !== null) this.#options.log.error(words, "conntrack cannot be asked about silent connections");
      return;
    }
    if (doubted.size === 0 || this.#closed) return;
    this.unknown += doubted.size;
    this.#options.onUnknown([...doubted.values()]);
  }

  /** Leaves those that conntrack does not know. */
  async #forgetKnown(doubted: Map<string, FlowTuple>): Promise<void> {
    const { conntrack } = this.#options;
    const turns = new Turns();
    for (const [key, flow] of doubted) {
      if (this.#closed) return;
      if (findEntry(conntrack, flow, never) !== null) doubted.delete(key);
      if (turns.isOver()) await turns.next();
    }
    // One whose addresses are translated at both ends is found by a walk only.
    const meet = (entry: ConntrackEntry): unknown => doubted.delete(keyOf(flowOf(entry)));
    for (const family of ["ipv4", "ipv6"] as const) {
      if (doubted.size === 0 || this.#closed) return;
      for (const _ of conntrack.dumpInPieces(family, meet)) if (turns.isOver()) await turns.next();
    }
  }
}

const never = (): boolean => false;
