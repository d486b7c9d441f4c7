import { CarriedPairs } from "../inspector/carried-pairs.ts";
import type { Inspector } from "../inspector/inspector.ts";
import { ENOENT, errnoName } from "../kernel/libc.ts";
import { openPacketLog, type PacketLog, type PacketLogCounters, type TakeRecord } from "../kernel/packet-log.ts";
import { TABLE_NAME } from "../kernel/ruleset.ts";
import { LOGGED_AFTER_MS, LOGGED_AT_ONCE, LOGGED_BYTES } from "../kernel/ruleset-carry.ts";
import { CARRY_SECONDS, CARRY_SETS, TOLD_MS, TOLD_SETS } from "../kernel/ruleset-sets.ts";
import { TOLD_AFTER_MS, TOLD_AT_ONCE, TOLD_BYTES } from "../kernel/ruleset-told.ts";
import { SetElements } from "../kernel/set-elements.ts";

const SETS = [...CARRY_SETS, ...TOLD_SETS];
const BAR_INTERVAL_MS = 250;
/** SYNs read at once at most: more than the socket has room for. */
const MOST_SYNS = 16_384;

type HearsOfSyns = Pick<Inspector, "told" | "toldLost">;

/** The lane's hold on what the kernel lets pass by itself: it is told of each flow or SYN, and can take all of it back. */
export class CarriedFlows {
  readonly fds: readonly [flows: number, syns: number];
  /** What the sets may hold: of flows that are opened, and of SYNs that go on undecided. */
  readonly pairs: CarriedPairs;
  readonly toldPairs: CarriedPairs;
  readonly #log: PacketLog;
  readonly #syns: PacketLog;
  readonly #sets = new SetElements(TABLE_NAME);
  #lostBefore = 0;
  #fault: unknown = null;
  #faults = 0;
  #failed = 0;
  #overrunsBefore = 0;
  #lostSynsBefore = 0;
  #nextBar = 0;

  constructor(log: PacketLog, syns: PacketLog, seed: number) {
    this.#log = log;
    this.#syns = syns;
    this.pairs = new CarriedPairs(seed, CARRY_SECONDS * 1000);
    this.toldPairs = new CarriedPairs(seed, TOLD_MS);
    this.fds = [log.fd, syns.fd];
  }

  /** Flows that this lane was told of; monotonic. */
  get read(): number {
    return this.#log.counters.received;
  }

  /** How long the flows that are read at `now` may have waited; the kernel collects them, too. */
  waited(now: number): number {
    return now - this.#log.emptyAt + LOGGED_AFTER_MS;
  }

  /** No flows waited at `now`. */
  noneWaited(now: number): void {
    this.#log.emptyAt = now;
  }

  /**
   * Hands over the first bytes of the flows that are waiting, or some of them. One on which `each` throws counts as lost, and the others are
   * handed over all the same. Returns what was thrown last; null: nothing.
   */
  take(each: TakeRecord, now: number): unknown {
    this.#log.read(this.#guarded(each), now);
    this.#failed += this.#faults;
    return this.#lastFault();
  }

  #guarded(each: TakeRecord): TakeRecord {
    return (bytes, start, end) => {
      try {
        each(bytes, start, end);
      } catch (error) {
        this.#faults++;
        this.#fault = error;
      }
    };
  }

  #lastFault(): unknown {
    const fault = this.#fault;
    this.#fault = null;
    this.#faults = 0;
    return fault;
  }

  /** SYNs that this lane was told of, and those that were lost on the way; monotonic. */
  get syns(): Readonly<PacketLogCounters> {
    return this.#syns.counters;
  }

  /**
   * Hands over all SYNs that wait: those that passed before a packet was put into a queue are among them when that is read. Says so before it hands
   * over the first one after some were lost. Returns as `take`.
   */
  takeSyns(inspector: HearsOfSyns, now: number): unknown {
    const guarded = this.#guarded((bytes, start, end) => {
      const lost = this.#syns.counters.lost + this.#syns.overruns;
      if (lost !== this.#lostSynsBefore) inspector.toldLost(now);
      this.#lostSynsBefore = lost;
      inspector.told(bytes, start, end, now);
    });
    for (let read = 0; read < MOST_SYNS; ) {
      const some = this.#syns.read(guarded);
      if (some === 0) break;
      read += some;
    }
    return this.#lastFault();
  }

  /** Whether a SYN may have gone by unasked of late. */
  tells(now: number): boolean {
    return this.toldPairs.mayHold(now);
  }

  /** How many more have been lost since this was asked last; null: none. 0: some, and the next one that comes through tells how many. */
  missed(): number | null {
    const { overruns, counters } = this.#log;
    const more = counters.lost + this.#failed - this.#lostBefore;
    if (more === 0 && overruns === this.#overrunsBefore) return null;
    this.#lostBefore += more;
    this.#overrunsBefore = overruns;
    return more;
  }

  /**
   * Flows are opened faster than they can be recorded: those who open most of them are asked about each again, for a while. Returns who that is; nobody
   * where it was done a moment ago. If the sets cannot be flushed, what they hold of theirs ends by itself in some seconds.
   */
  bar(now: number): number[] {
    if (now < this.#nextBar) return [];
    this.#nextBar = now + BAR_INTERVAL_MS;
    const barred = this.pairs.bar(now);
    if (barred.length > 0) this.flush();
    return barred;
  }

  /** Empties the sets, at once; no table, no sets. Returns what went wrong: elements then stay for their few seconds. */
  flush(): string | null {
    const number = this.#sets.change({ kind: "flush", sets: SETS });
    if (number !== 0 && number !== ENOENT) return `the sets of carried flows cannot be flushed: ${errnoName(number)}`;
    this.pairs.flushed();
    this.toldPairs.flushed();
    return null;
  }

  /** As `flush`, where the sets may hold anything of this lane's. */
  takeBack(now: number): string | null {
    return this.pairs.mayHold(now) || this.tells(now) ? this.flush() : null;
  }

  /** The last of them. */
  finish(each: TakeRecord): void {
    this.#log.finish(this.#guarded(each));
    this.#failed += this.#faults;
    this.#lastFault();
  }

  close(): void {
    this.#log.close();
    this.#syns.close();
    this.#sets.close();
  }
}

/** Says why not where another process reads one of the groups: then the kernel is not to let anything pass. */
export function openCarriedFlows(
  groups: { readonly flows: number; readonly syns: number },
  seed: number,
): { flows: CarriedFlows | null; problem: string | null } {
  let log: PacketLog | null = null;
  try {
    const many = { threshold: LOGGED_AT_ONCE, timeoutMs: LOGGED_AFTER_MS };
    log = openPacketLog({ group: groups.flows, copyRange: LOGGED_BYTES, ...many });
    const few = { threshold: TOLD_AT_ONCE, timeoutMs: TOLD_AFTER_MS };
    const syns = openPacketLog({ group: groups.syns, copyRange: TOLD_BYTES, ...few });
    return { flows: new CarriedFlows(log, syns, seed), problem: null };
  } catch (error) {
    log?.close();
    const reason = error instanceof Error ? error.message : String(error);
    return { flows: null, problem: `${reason}; every new flow is asked about` };
  }
}
