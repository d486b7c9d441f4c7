import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { createLogger, type Logger } from "./log.ts";

const CHECK_EVERY_MS = 100;
/**
 * An agent without a beat in so many checks in a row hangs: its packets wait, so it is killed and replaced. Checks are counted,
 * not time: on a starved machine this process is late too, and the beats it has not read yet are no silence.
 */
const HANG_AFTER_CHECKS = 6;
/** From its start to its first beat; until then nothing is enforced by it, and what a former one left stays closed. */
const START_LIMIT_CHECKS = 200;
const STOP_LIMIT_MS = 5_000;
/** Of one that takes its rules along: killed on the way it would leave the node half closed. */
const REMOVE_LIMIT_MS = 15_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
/** An agent that lived this long had started well: the next one need not wait. Nor where a working one was killed, for each moment without is one in which no pod can connect. */
const LIVED_WELL_MS = 10_000;
/** Descriptor on which the agent beats. */
export const BEAT_DESCRIPTOR = 3;
/** Bytes on it that are no beats. */
export const TOLD = {
  /** Another agent starts, or still follows its last flows: this one waits, and does not hang. */
  waiting: 0xf0,
  /** Another agent has taken over: when this one ends it is not started anew. */
  retiring: 0xf1,
  /** The other agent is gone, and this one enforces again. */
  resumed: 0xf2,
  /** It is about to end: its silence is no hang. */
  ending: 0xf3,
  /** The same, and it takes its rules away before. */
  removing: 0xf4,
} as const;

/**
 * Runs the agent as a child and keeps it running: a process cannot notice by itself that it was stopped or hangs as a
 * whole. The child beats on a pipe, from the thread that gives the verdicts; when it falls silent or dies it is killed and
 * started anew. The child dies with its supervisor (PR_SET_PDEATHSIG), so there are never two that hold the queues.
 */
export class Supervisor {
  readonly #command: readonly string[];
  readonly #log: Logger;
  #child: ChildProcess | null = null;
  #silentChecks = 0;
  #beats = 0;
  #stopping = false;
  #retiring = false;
  /** SIGTERM came while it was retiring: it ends by itself. */
  #stopAsked = false;
  #restarts = 0;
  #kill: NodeJS.Timeout | null = null;

  /** `command`: program and arguments of the child. */
  constructor(command: readonly string[], logLevel: string) {
    this.#command = command;
    this.#log = createLogger(logLevel);
  }

  /** Resolves with the exit status, when the agent was told to stop, or could not start at all. */
  async run(): Promise<number> {
    this.#forwardSignals();
    let pause = FIRST_PAUSE_MS;
    for (;;) {
      const started = performance.now();
      const { status, beats } = await this.#runChild();
      if (this.#stopping || this.#retiring) return status ?? 0;
      // It never got to work at the first try: what is wrong is for the user to mend.
      if (beats === 0 && this.#restarts === 0 && status !== null) return status;
      this.#restarts++;
      const killed = status === null && beats > 0;
      if (killed || performance.now() - started > LIVED_WELL_MS) pause = FIRST_PAUSE_MS;
      this.#log.error(
        { event: "agent-restarted", status, restarts: this.#restarts, pause },
        "the agent ended and is started anew; until then the kernel holds to what was decided",
      );
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  #runChild(): Promise<{ status: number | null; beats: number }> {
    const [program = "", ...rest] = this.#command;
    // A session of its own: what a terminal sends to everybody comes once, through here.
    const child = spawn(program, rest, { stdio: ["ignore", "inherit", "inherit", "pipe"], detached: true });
    this.#child = child;
    this.#beats = 0;
    this.#silentChecks = 0;
    const pipe = child.stdio[BEAT_DESCRIPTOR] as Readable;
    pipe.on("data", (bytes: Buffer) => {
      this.#silentChecks = 0;
      for (const byte of bytes) this.#hear(byte);
    });
    pipe.on("error", () => undefined);
    const watch = setInterval(() => this.#check(child), CHECK_EVERY_MS);
    return new Promise((resolve) => {
      const over = (status: number | null): void => {
        clearInterval(watch);
        this.#child = null;
        resolve({ status, beats: this.#beats });
      };
      child.once("error", (error) => {
        this.#log.error({ event: "agent-start-failed", error: error.message });
        over(2);
      });
      child.once("exit", over);
    });
  }

  #hear(byte: number): void {
    if (byte === TOLD.retiring) this.#retiring = true;
    else if (byte === TOLD.resumed) {
      this.#retiring = false;
      if (this.#stopAsked) this.#stop();
    } else if (byte === TOLD.ending || byte === TOLD.removing) {
      this.#stopping = true;
      this.#killLater(byte === TOLD.ending ? STOP_LIMIT_MS : REMOVE_LIMIT_MS);
    } else if (byte !== TOLD.waiting) this.#beats++;
  }

  #check(child: ChildProcess): void {
    const limit = this.#beats === 0 ? START_LIMIT_CHECKS : HANG_AFTER_CHECKS;
    if (this.#stopping || ++this.#silentChecks <= limit) return;
    const silent = this.#silentChecks * CHECK_EVERY_MS;
    this.#log.error({ event: "agent-hangs", silent }, "the agent gives no verdicts: it is killed");
    this.#silentChecks = 0;
    child.kill("SIGKILL");
  }

  #forwardSignals(): void {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        // A node's old agent is told to end as soon as the new one is ready, but still has flows to follow.
        const waits = this.#retiring && !this.#stopAsked;
        this.#stopAsked = true;
        if (!waits) this.#stop();
      });
    }
    process.on("SIGHUP", () => this.#child?.kill("SIGHUP"));
  }

  #stop(): void {
    this.#stopping = true;
    if (this.#child === null) process.exit(0);
    this.#child.kill("SIGTERM");
    // One that was stopped or hangs cannot hear it.
    this.#killLater(STOP_LIMIT_MS);
  }

  #killLater(afterMs: number): void {
    if (this.#kill !== null) clearTimeout(this.#kill);
    this.#kill = setTimeout(() => this.#child?.kill("SIGKILL"), afterMs);
    this.#kill.unref();
  }
}
