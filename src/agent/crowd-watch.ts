import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { readConntrackFill } from "../kernel/conntrack-fill.ts";
import { errnoName } from "../kernel/libc.ts";
import { TABLE_NAME } from "../kernel/ruleset.ts";
import { CROWDING_FOR_S, crowdingSet } from "../kernel/ruleset-crowding.ts";
import { SetElements } from "../kernel/set-elements.ts";
import { type Address, addressToBytes, isIPv4 } from "../net/address.ts";
import type { Program } from "../program/program.ts";
import { Beginnings } from "./beginnings.ts";
import { isCrowded, mostEntries } from "./conntrack-shares.ts";
import type { Floods } from "./floods.ts";
import type { Logger } from "./log.ts";
import { Turns } from "./turns.ts";

const LOOK_EVERY_MS = 250;
/** After a walk none for so many times as long as it took, but one before those that are held are free again. */
const REST = 9;
const LONGEST_REST_MS = (CROWDING_FOR_S * 1000) / 3;

/** What one workload has in conntrack. */
interface Use {
  entries: number;
  readonly addresses: Map<string, Address>;
}

/**
 * Keeps a pod from filling the node's connection tracking, which all pods share (DESIGN §4.8): where it has more than its share of a
 * table that is filling, it opens no new flows until that is over; open ones go on. Looks at two numbers four times a second, and
 * walks the table only where somebody can have too much, in turns with others (docs/adr/0024-conntrack-shares.md).
 */
export class CrowdWatch {
  readonly #conntrack: Conntrack;
  readonly #program: () => Program;
  readonly #floods: Floods;
  readonly #log: Logger;
  readonly #elements = new SetElements(TABLE_NAME);
  readonly #beginnings = new Beginnings();
  readonly #held = new Map<number, number>();
  #timer: NodeJS.Timeout | null = null;
  #walking: Promise<void> | null = null;
  #restUntil = 0;
  #closed = false;

  constructor(conntrack: Conntrack, program: () => Program, floods: Floods, log: Logger) {
    this.#conntrack = conntrack;
    this.#program = program;
    this.#floods = floods;
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#walking;
    this.#elements.close();
  }

  #look(): void {
    this.#beginnings.note(this.#program(), Date.now());
    if (this.#walking !== null || performance.now() < this.#restUntil) return;
    const fill = readConntrackFill();
    if (fill === null || !isCrowded(fill.entries, fill.limit)) return;
    const started = performance.now();
    this.#walking = this.#walk(fill.limit)
      .catch((error: unknown) =>
        this.#log.error({ event: "conntrack-unread", error: String(error) }, "conntrack cannot be walked"),
      )
      .finally(() => {
        const now = performance.now();
        this.#restUntil = now + Math.min((now - started) * REST, LONGEST_REST_MS);
        this.#walking = null;
      });
  }

  async #walk(limit: number): Promise<void> {
    const program = this.#program();
    this.#beginnings.note(program, Date.now());
    const uses = new Map<number, Use>();
    const turns = new Turns();
    let entries = 0;
    const count = ({ original: { source }, start }: ConntrackEntry): void => {
      entries++;
      const row = program.workloadAt(source.w0, source.w1, source.w2, source.w3);
      if (row < 0 || !program.isolated(program.classOfRow(row))) return;
      const workloadId = program.workloadId(row);
      if (this.#beginnings.canBeOf(workloadId, start)) note(uses, workloadId, source);
    };
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const _ of this.#conntrack.dumpInPieces(family, count)) if (turns.isOver()) await turns.next();
    }
    const most = mostEntries(entries, limit);
    for (const [workloadId, use] of uses) if (use.entries > most && !this.#closed) this.#hold(workloadId, use, limit);
  }

  #hold(workloadId: number, { entries, addresses }: Use, limit: number): void {
    const now = performance.now();
    const news = now > (this.#held.get(workloadId) ?? 0);
    this.#held.set(workloadId, now + CROWDING_FOR_S * 1000);
    for (const [workload, until] of this.#held) if (until < now) this.#held.delete(workload);
    for (const address of addresses.values()) {
      const set = crowdingSet(isIPv4(address) ? "4" : "6");
      const keys = [addressToBytes(address)];
      // Not every kernel lets an element that is there live longer.
      this.#elements.change({ kind: "delete", set, keys });
      const error = this.#elements.change({ kind: "add", set, keys, timeoutMs: CROWDING_FOR_S * 1000 });
      if (error === 0) this.#floods.onCrowding(address, entries, limit, news);
      else
        this.#log.error(
          { event: "conntrack-unheld", error: errnoName(error) },
          "a pod that fills conntrack cannot be held back",
        );
    }
  }
}

function note(uses: Map<number, Use>, workloadId: number, source: Address): void {
  let use = uses.get(workloadId);
  if (use === undefined) {
    use = { entries: 0, addresses: new Map() };
    uses.set(workloadId, use);
  }
  use.entries++;
  const key = `${source.w0} ${source.w1} ${source.w2} ${source.w3}`;
  if (!use.addresses.has(key)) use.addresses.set(key, source);
}
