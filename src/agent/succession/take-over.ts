import { otherGeneration } from "../../kernel/ruleset.ts";
import type { Program } from "../../program/program.ts";
import type { OfNode } from "../existing-flows.ts";
import { removeRoll } from "../journal/folder.ts";
import type { Journal } from "../journal/journal.ts";
import type { Recollection } from "../journal/recollection.ts";
import type { LaneHandle } from "../lane-handle.ts";
import type { Logger } from "../log.ts";
import type { OpenFlows } from "../open-flows.ts";
import type { RulesetKeeper } from "../ruleset-keeper.ts";
import { Inheritance } from "./inheritance.ts";
import { endHanging, type Place } from "./place.ts";

/** An agent that does not answer for so long hangs. It may be busy with a change; meanwhile it enforces. */
const RETIRE_LIMIT_MS = 3_000;
const INHERIT_EVERY_MS = 50;

export interface TakeOverParts {
  readonly keeper: RulesetKeeper;
  readonly journal: Journal;
  readonly lane: LaneHandle;
  readonly open: OpenFlows;
  readonly program: () => Program;
  /** Nobody holds pods on the host's network any more: what they have open is not to end with the agent that did. */
  readonly hostPodsFree: boolean;
  readonly log: Logger;
}

/**
 * A new agent's side of a hand-over, in order: `begin` before its ruleset is installed, `recall` after that, `installed` when it
 * knows what is open. Where no agent was there before, each does nothing.
 */
export class TakeOver {
  readonly #place: Place;
  readonly #parts: TakeOverParts;
  #inheritance: Inheritance | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(place: Place, parts: TakeOverParts) {
    this.#place = place;
    this.#parts = parts;
  }

  /** What becomes of flows that pods on the node's network had open. */
  get ofNode(): OfNode {
    return this.#parts.hostPodsFree ? "free" : this.#place.predecessor !== null ? "leave" : "end";
  }

  /** Asks the agent before this one to leave the ruleset alone; one that does not answer is ended. @throws Error when it cannot be */
  async begin(): Promise<void> {
    const { predecessor } = this.#place;
    if (predecessor === null || (await predecessor.retire(RETIRE_LIMIT_MS))) return;
    this.#parts.log.error({ event: "predecessor-hangs" }, "the agent that runs here does not answer: it is killed");
    await endHanging(this.#place);
  }

  /** Takes into `memory` what the agent before this one has noted until now. */
  recall(memory: Recollection): void {
    if (this.#place.predecessor === null) return;
    const { journal, lane, open, program, hostPodsFree } = this.#parts;
    const tail = journal.otherTail();
    tail.read((record) => memory.take(record));
    this.#inheritance = new Inheritance(tail, {
      idsByKey: () => journal.idsByKey(),
      program,
      bound: (bindings) => {
        journal.learned(bindings);
        lane.send({ kind: "bindings", bindings });
      },
      opened: (flow) => {
        if (!hostPodsFree || !program().isNode(flow.tuple.client)) open.inherit(flow);
      },
      closed: (tuple) => open.inheritEnd(tuple),
    });
    // Those that it learned since this one's lane was started.
    lane.send({ kind: "bindings", bindings: journal.bindings() });
  }

  /** While the agent before this one follows its last flows, what it decides is known here a moment later. */
  installed(): void {
    const { predecessor } = this.#place;
    if (predecessor === null) {
      this.#parts.journal.alone();
      return;
    }
    this.#timer = setInterval(() => this.catchUp(), INHERIT_EVERY_MS);
    predecessor.onLeaving = () => void this.#alone().then(() => predecessor.alone());
    predecessor.onGone = () => void this.#alone().then(() => this.#over());
    predecessor.installed();
    if (predecessor.gone) predecessor.onGone();
  }

  /** Reads what the agent before this one has noted since the last time. */
  catchUp(): void {
    this.#inheritance?.take();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#inheritance?.close();
    this.#inheritance = null;
    const { predecessor } = this.#place;
    if (predecessor === null) return;
    predecessor.onGone = () => undefined;
    predecessor.close();
  }

  /** From here on nothing is asked of it: packets of flows that it still followed are reset. */
  async #alone(): Promise<void> {
    try {
      this.#parts.lane.send({ kind: "alone" });
      await this.#parts.keeper.alone();
    } catch (error) {
      const { log } = this.#parts;
      log.error({ event: "hand-over-failed", error: String(error) }, "the rules still name the agent before this one");
    }
  }

  #over(): void {
    this.catchUp();
    this.close();
    this.#parts.journal.alone();
    removeRoll(this.#place.folder, otherGeneration(this.#place.generation));
    this.#parts.log.info({ event: "taken-over" }, "the agent before this one has ended");
  }
}
