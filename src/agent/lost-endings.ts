import type { FlowTuple } from "../flow/event.ts";
import { keyOf } from "../flow/live-flows.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import type { Logger } from "./log.ts";
import type { OpenFlows } from "./open-flows.ts";
import { findEntry, flowOf } from "./translation.ts";
import { Turns } from "./turns.ts";

/** Before conntrack is walked and after: what was decided a moment ago may still be on its way into conntrack, and endings on theirs here. */
const SETTLE_MS = 1_000;
/** The lane takes no ending of a flow that it has followed for less: it may be that of another flow with the same ports. */
const TOLD_AFTER_MS = 5_500;
/** So many times as long as the last census took there is no other: it never takes more than a tenth of the thread. */
const REST = 9;

export interface LostEndingsOptions {
  readonly conntrack: Pick<Conntrack, "dumpInPieces" | "get" | "dump">;
  readonly open: Pick<OpenFlows, "live" | "foundEnded">;
  /** Takes all records that are on their way to the open flows. */
  readonly readRecords: () => Promise<void>;
  /** Takes all endings that are there. */
  readonly readEndings: () => Promise<void>;
  /** Which flows the lane follows. */
  readonly followed: () => Promise<readonly FlowTuple[]>;
  /** Takes those of them that have ended. */
  readonly onEnded: (flows: readonly FlowTuple[]) => void;
  readonly log: Logger;
  readonly settleMs?: number;
}

/**
 * News of ended flows that the kernel had to drop is made good: once all that waited is read, the flows that are held for open are
 * compared with conntrack, and those that it does not know have ended. Without that they would be counted, journalled, decided anew and, where
 * the lane follows them, charged to their pod for ever. Turns with others on the main thread; the lane is asked one short question.
 */
export class LostEndings {
  readonly #options: LostEndingsOptions;
  #made = 0;
  #wanted = 0;
  #timer: NodeJS.Timeout | null = null;
  #under: Promise<void> | null = null;
  #closed = false;
  /** Flows that were found to have ended; monotonic. */
  found = 0;

  constructor(options: LostEndingsOptions) {
    this.#options = options;
  }

  /** `overruns`: times that endings were lost, as far as that is over; never less than before. */
  note(overruns: number): void {
    if (overruns === this.#wanted || this.#closed) return;
    this.#wanted = overruns;
    if (this.#timer === null && this.#under === null) this.#in(this.#settle);
  }

  /** No more of it; resolves when none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#under;
  }

  get #settle(): number {
    return this.#options.settleMs ?? SETTLE_MS;
  }

  #in(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#under = this.#run().then((took) => {
        this.#under = null;
        if (!this.#closed && this.#made !== this.#wanted) this.#in(Math.max(this.#settle, took * REST));
      });
    }, ms);
  }

  /** Resolves with the milliseconds that it took. */
  async #run(): Promise<number> {
    const { log } = this.#options;
    const wanted = this.#wanted;
    const started = performance.now();
    try {
      const found = await this.#census();
      this.found += found;
      this.#made = wanted;
      const milliseconds = Math.round(performance.now() - started);
      log.info({ event: "endings-found", found, milliseconds }, "flows whose ends were lost are closed");
    } catch (error) {
      log.error({ event: "endings-unfound", error: String(error) }, "conntrack cannot be walked; trying again");
    }
    return performance.now() - started;
  }

  async #census(): Promise<number> {
    const { conntrack, open, readRecords, readEndings, followed } = this.#options;
    const { live } = open;
    await readRecords();
    live.beginCensus();
    const unmet = new Map((await followed()).map((flow) => [keyOf(flow), flow]));
    const askedAt = performance.now();
    const turns = new Turns();
    const meet = (entry: ConntrackEntry): void => {
      const flow = flowOf(entry);
      const handle = live.find(flow);
      if (handle >= 0) live.met(handle);
      if (unmet.size > 0) unmet.delete(keyOf(flow));
    };
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const _ of conntrack.dumpInPieces(family, meet)) if (turns.isOver()) await turns.next();
    }
    await this.#sleep(this.#settle);
    await readEndings();
    const found = await this.#endOpen(turns);
    if (unmet.size > 0) {
      await this.#sleep(askedAt + TOLD_AFTER_MS - performance.now());
      await this.#endFollowed(unmet.values(), turns);
    }
    return found;
  }

  async #endOpen(turns: Turns): Promise<number> {
    const { open } = this.#options;
    const { live } = open;
    let found = 0;
    for (const handle of live.unmet()) {
      if (this.#closed) break;
      if (this.#isKnown(live.view(handle).tuple)) live.met(handle);
      else {
        open.foundEnded(handle);
        found++;
      }
      if (turns.isOver()) await turns.next();
    }
    return found;
  }

  async #endFollowed(flows: Iterable<FlowTuple>, turns: Turns): Promise<void> {
    const ended: FlowTuple[] = [];
    for (const flow of flows) {
      if (!this.#isKnown(flow)) ended.push(flow);
      if (turns.isOver()) await turns.next();
    }
    if (ended.length > 0 && !this.#closed) this.#options.onEnded(ended);
  }

  /** Shorter where it is to end. */
  async #sleep(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!this.#closed && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, Math.max(1, until - performance.now()))));
    }
  }

  /** A walk may miss an entry, where the table is made larger meanwhile; and ports may have been used again since. */
  #isKnown(flow: FlowTuple): boolean {
    return findEntry(this.#options.conntrack, flow, () => false) !== null;
  }
}
