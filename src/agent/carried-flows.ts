import { CarriedPairs } from "../inspector/carried-pairs.ts";
import { ENOENT, errnoName } from "../kernel/libc.ts";
import { openPacketLog, type PacketLog, type TakeRecord } from "../kernel/packet-log.ts";
import { TABLE_NAME } from "../kernel/ruleset.ts";
import { LOGGED_AFTER_MS, LOGGED_AT_ONCE, LOGGED_BYTES } from "../kernel/ruleset-carry.ts";
import { CARRY_SECONDS, CARRY_SETS } from "../kernel/ruleset-sets.ts";
import { SetElements } from "../kernel/set-elements.ts";

/** The lane's hold on what the kernel opens by itself: it is told of each flow, and can take all of it back. */
export class CarriedFlows {
  readonly fd: number;
  /** What the sets may hold. */
  readonly pairs: CarriedPairs;
  readonly #log: PacketLog;
  readonly #sets = new SetElements(TABLE_NAME);
  #lostBefore = 0;
  #overrunsBefore = 0;

  constructor(log: PacketLog, seed: number) {
    this.#log = log;
    this.pairs = new CarriedPairs(seed, CARRY_SECONDS * 1000);
    this.fd = log.fd;
  }

  /** Flows that this lane was told of; monotonic. */
  get read(): number {
    return this.#log.counters.received;
  }

  /** Hands over the first bytes of the flows that are waiting, or some of them. */
  take(each: TakeRecord): void {
    this.#log.read(each);
  }

  /** How many more have been lost since this was asked last; null: none. 0: some, and the next one that comes through tells how many. */
  missed(): number | null {
    const { overruns, counters } = this.#log;
    const more = counters.lost - this.#lostBefore;
    if (more === 0 && overruns === this.#overrunsBefore) return null;
    this.#lostBefore += more;
    this.#overrunsBefore = overruns;
    return more;
  }

  /** Empties the sets, at once; no table, no sets. Returns what went wrong: elements then stay for their few seconds. */
  flush(): string | null {
    const number = this.#sets.change({ kind: "flush", sets: CARRY_SETS });
    if (number !== 0 && number !== ENOENT) return `the sets of carried flows cannot be flushed: ${errnoName(number)}`;
    this.pairs.flushed();
    return null;
  }

  /** As `flush`, where the sets may hold anything of this lane's. */
  takeBack(now: number): string | null {
    return this.pairs.mayHold(now) ? this.flush() : null;
  }

  /** The last of them. */
  finish(each: TakeRecord): void {
    this.#log.finish(each);
  }

  close(): void {
    this.#log.close();
    this.#sets.close();
  }
}

/** Says why not where another process reads the group: then the kernel is not to open anything. */
export function openCarriedFlows(group: number, seed: number): { flows: CarriedFlows | null; problem: string | null } {
  try {
    const log = openPacketLog({
      group,
      copyRange: LOGGED_BYTES,
      threshold: LOGGED_AT_ONCE,
      timeoutMs: LOGGED_AFTER_MS,
    });
    return { flows: new CarriedFlows(log, seed), problem: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { flows: null, problem: `${reason}; every new flow is asked about` };
  }
}
