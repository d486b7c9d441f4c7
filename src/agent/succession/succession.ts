import { join } from "node:path";
import { MSG_DONTWAIT, MSG_NOSIGNAL, send } from "../../kernel/libc.ts";
import type { Agent } from "../agent.ts";
import { removeRoll, socketName } from "../journal/folder.ts";
import type { Logger } from "../log.ts";
import type { AgentOptions } from "../options.ts";
import { BEAT_DESCRIPTOR, TOLD } from "../supervisor.ts";
import type { Place } from "./place.ts";
import { Retirement } from "./retirement.ts";
import { writeRoll } from "./roll.ts";

const LOOK_EVERY_MS = 100;
/** Clients ask DNS again after 5 s: until then an answer to a question that this agent let pass may come. */
const SHORTEST_LINGER_MS = 5_000;

/** Tells the supervisor, if there is one. */
export function tell({ supervisor }: AgentOptions, word: number): void {
  if (supervisor !== null) send(BEAT_DESCRIPTOR, new Uint8Array([word]), 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/**
 * The end of an agent's life: told to stop, or replaced by another agent that was started beside it (docs/adr/0008-hand-over.md). One
 * that was replaced goes on with the flows that it follows, then ends.
 */
export class Succession {
  readonly #agent: Agent;
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #onReplaced: () => void;
  #retirement: Retirement | null = null;
  #place: Place | null = null;
  #retiring = false;
  #abandoned = false;
  readonly #over: Promise<string>;
  #end: (why: string) => void = () => undefined;

  /** `onReplaced`: another agent enforces; what only one can hold is to be let go. */
  constructor(agent: Agent, options: AgentOptions, log: Logger, onReplaced: () => void) {
    this.#agent = agent;
    this.#options = options;
    this.#log = log;
    this.#onReplaced = onReplaced;
    this.#over = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** From now on another agent may take over from this one. Never rejects: without it this one enforces as well. */
  async open(place: Place): Promise<void> {
    const { folder, generation, lock } = place;
    if (lock === null) return;
    try {
      const path = join(folder, socketName(generation));
      writeRoll(folder, generation, this.#options.supervisor);
      const retirement = new Retirement(path, this, this.#log);
      await retirement.listen();
      this.#retirement = retirement;
      this.#place = place;
    } catch (error) {
      this.#log.warn(
        { event: "hand-over-off", error: String(error) },
        "no other agent will be able to take over from this one without a gap",
      );
    } finally {
      lock.release();
    }
  }

  /** Resolves when the agent is to end, with the reason. A signal ends one that was replaced at its second coming only. */
  async until(stopped: Promise<string>): Promise<string> {
    const first = await Promise.race([stopped.then(() => null), this.#over]);
    if (first !== null) return first;
    return this.#retiring ? Promise.race([secondSignal(), this.#over]) : stopped;
  }

  /** Another agent enforces, or is about to. */
  get retiring(): boolean {
    return this.#retiring;
  }

  close(): void {
    this.#retirement?.close();
    if (this.#place !== null) removeRoll(this.#place.folder, this.#place.generation);
  }

  async retire(): Promise<void> {
    this.#retiring = true;
    tell(this.#options, TOLD.retiring);
    this.#log.info({ event: "retiring" }, "another agent takes over");
    await this.#agent.retire();
  }

  installed(): void {
    this.#agent.handOver();
    this.#onReplaced();
    void this.#linger();
  }

  async resume(): Promise<void> {
    this.#retiring = false;
    this.#log.warn({ event: "resumed" }, "the agent that was to take over is gone: this one goes on");
    await this.#agent.resume();
    tell(this.#options, TOLD.resumed);
  }

  /** Starts anew, for what is open has been followed by nobody since; the supervisor sees to that. */
  abandoned(): void {
    this.#abandoned = true;
    this.#log.error({ event: "abandoned" }, "the agent that took over is gone: this one starts anew");
    tell(this.#options, TOLD.resumed);
    this.#end("abandoned");
  }

  async #linger(): Promise<void> {
    const { linger } = this.#options;
    const since = performance.now();
    const shortest = Math.min(linger, SHORTEST_LINGER_MS);
    for (let past = 0; past < linger; past = performance.now() - since) {
      if (past >= shortest && this.#agent.following === 0) break;
      await sleep(LOOK_EVERY_MS);
    }
    while (this.#retirement?.lost === true) await sleep(LOOK_EVERY_MS);
    if (this.#abandoned) return;
    this.#log.info({ event: "leaving", following: this.#agent.following });
    await this.#retirement?.leave();
    tell(this.#options, TOLD.ending);
    this.#end("replaced");
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function secondSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });
}
