import type { FlowEnding } from "../flow/ending.ts";
import type { FlowTuple } from "../flow/event.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import { DoubtedFlows } from "./doubted-flows.ts";
import { EndingsReader } from "./endings-reader.ts";
import { FollowedFlows } from "./followed-flows.ts";
import type { LaneHandle } from "./lane-handle.ts";
import type { FromLane } from "./lane-messages.ts";
import type { Logger } from "./log.ts";
import { LostEndings } from "./lost-endings.ts";
import type { AgentCounts } from "./metrics/agent-counts.ts";
import type { OpenFlows } from "./open-flows.ts";
import { Turns } from "./turns.ts";

/** From the kernel to the ring: the reader rests for less. */
const ON_THE_WAY_MS = 50;

export interface EndingNewsOptions {
  /** Of the worker that reads them. */
  readonly file: URL;
  readonly conntrack: Conntrack;
  readonly open: OpenFlows;
  readonly lane: LaneHandle;
  readonly counts: AgentCounts;
  readonly log: Logger;
}

/** What conntrack tells of flows that have ended, and what it could not tell: carried to the open flows, and to the lane for those that it follows. */
export class EndingNews {
  readonly #options: EndingNewsOptions;
  readonly #reader: EndingsReader;
  readonly #followed: FollowedFlows;
  readonly #lost: LostEndings;
  readonly #doubted: DoubtedFlows;
  #listener: ((ending: FlowEnding) => void) | null = null;

  constructor(options: EndingNewsOptions) {
    const { file, conntrack, open, lane, log } = options;
    this.#options = options;
    this.#reader = new EndingsReader(file, (reason) =>
      log.error({ event: "endings-stopped", reason }, "ends of flows are not seen; reading again"),
    );
    this.#followed = new FollowedFlows(() => lane.send({ kind: "follows" }));
    this.#lost = new LostEndings({
      conntrack,
      open,
      readRecords: () => lane.drained(),
      readEndings: () => this.#readAll(),
      followed: () => this.#followed.get(),
      onEnded: (flows) => lane.send({ kind: "ended", flows, doubted: false }),
      log,
    });
    const onUnknown = (flows: readonly FlowTuple[]): void => lane.send({ kind: "ended", flows, doubted: true });
    this.#doubted = new DoubtedFlows({ conntrack, onUnknown, log });
  }

  /** Flows that were found to have ended, because the news of it was lost; monotonic. */
  get found(): number {
    return this.#lost.found;
  }

  /** Connections that the lane gave up because conntrack did not know them; monotonic. */
  get vanished(): number {
    return this.#doubted.unknown;
  }

  /** Resolves when no ending is missed any more unless that is told of. */
  start(): Promise<void> {
    return this.#reader.start();
  }

  /** Carries what is there. False: it was `until` (performance.now()) before that was all. */
  read(until: number): boolean {
    const { open, lane, counts, log } = this.#options;
    const followed: FlowTuple[] = [];
    const all = this.#reader.read(until, (ending) => {
      if (open.onEnding(ending)) followed.push(ending.flow);
      this.#listener?.(ending);
    });
    if (followed.length > 0) lane.send({ kind: "ended", flows: followed, doubted: false });
    const { overruns, overrunsOver } = this.#reader;
    this.#lost.note(overrunsOver);
    if (overruns > counts.endingsLost) {
      counts.endingsLost = overruns;
      log.warn(
        { event: "endings-lost", overruns },
        "ends of flows were lost: conntrack is asked which ones have ended",
      );
    }
    return all;
  }

  /** Has all endings told, of whatever flows; null: none any more. */
  listen(each: ((ending: FlowEnding) => void) | null): void {
    this.#listener = each;
  }

  /** Resolves when all was carried that had ended at the call. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ON_THE_WAY_MS));
    await this.#options.lane.drained();
    await this.#readAll();
  }

  /** Times that endings were lost; monotonic. */
  get lost(): number {
    return this.#reader.overruns;
  }

  /** The lane says which flows it follows, or of which of them it has heard nothing for a while. */
  onMessage({ kind, flows }: Extract<FromLane, { kind: "following" | "doubted" }>): void {
    if (kind === "following") this.#followed.onAnswer(flows);
    else this.#doubted.add(flows);
  }

  /** Before the lane ends: looks for nothing any more. */
  async rest(): Promise<void> {
    await Promise.all([this.#lost.close(), this.#doubted.close()]);
  }

  stop(): Promise<void> {
    return this.#reader.stop();
  }

  async #readAll(): Promise<void> {
    for (const turns = new Turns(); !this.read(turns.until); ) await turns.next();
  }
}
