import { decide } from "../decide/decide.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { inPlace, type MarkLayout, stateOf } from "../kernel/marks.ts";
import { STATE } from "../model/verdict.ts";
import { TCP } from "../net/ports.ts";
import type { Program } from "../program/program.ts";
import { factsOf, rowOf } from "./existing-flows.ts";
import type { Logger } from "./log.ts";
import { flowOf } from "./translation.ts";
import { Turns } from "./turns.ts";

/** Changes that come together are one. */
const PAUSE_MS = 500;
/** Entries of one walk: a pod's share of conntrack may hold more, and each is asked about again. */
const MOST = 16_384;

/**
 * Flows that policies ended, and may allow again: one that was wrong is taken back. A TCP connection is opened anew then, and each SYN is asked about;
 * but a datagram socket goes on with its port (syslog, statsd, WireGuard), and its entry remembers the refusal for as long as it sends. So where
 * policies have changed, entries that they do not refuse for certain forget it: their next packet is asked about. Nothing is opened by that.
 */
export class RefusedFlows {
  readonly #conntrack: Conntrack;
  readonly #marks: MarkLayout;
  readonly #log: Logger;
  #program: Program | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(conntrack: Conntrack, marks: MarkLayout, log: Logger) {
    this.#conntrack = conntrack;
    this.#marks = marks;
    this.#log = log;
  }

  /** Flows are decided on `program` from now on. */
  reconsider(program: Program): void {
    this.#program = program;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#walk().catch((error: Error) =>
        this.#log.warn(
          { event: "refused-flows", problem: error.message },
          "what was refused before a change of policies stays refused while it goes on sending",
        ),
      );
    }, PAUSE_MS).unref();
  }

  close(): void {
    this.#program = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #walk(): Promise<void> {
    const turns = new Turns();
    const found: ConntrackEntry[] = [];
    const each = (entry: ConntrackEntry): void => {
      if (found.length < MOST && this.#isOpen(entry)) found.push(entry);
    };
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const _ of this.#conntrack.dumpInPieces(family, each)) if (turns.isOver()) await turns.next();
    }
    for (const { original } of found) {
      if (turns.isOver()) await turns.next();
      if (this.#program === null) return;
      this.#conntrack.setMark(original, inPlace(this.#marks, STATE.none), this.#marks.mask);
    }
  }

  /** Refused, and not for certain on what conntrack tells. */
  #isOpen(entry: ConntrackEntry): boolean {
    const program = this.#program;
    if (program === null || entry.original.protocol === TCP || stateOf(this.#marks, entry.mark) !== STATE.rejected)
      return false;
    const row = rowOf(program, entry.original.source);
    return row >= 0 && decide(program, program.classOfRow(row), factsOf(flowOf(entry)), "enforce")?.action !== "Deny";
  }
}
