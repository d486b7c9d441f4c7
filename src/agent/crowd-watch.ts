import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { readConntrackFill } from "../kernel/conntrack-fill.ts";
import { errnoName } from "../kernel/libc.ts";
import { TABLE_NAME } from "../kernel/ruleset.ts";
import {
  CROWDED_FAMILIES,
  CROWDING_FOR_S,
  CROWDING_UNKNOWN,
  crowdingSet,
  FAMILY_NUMBER,
} from "../kernel/ruleset-crowding.ts";
import { SetElements } from "../kernel/set-elements.ts";
import { type Address, addressToBytes, isIPv4 } from "../net/address.ts";
import { cidrContains } from "../net/cidr.ts";
import { Beginnings } from "./beginnings.ts";
import { isCrowded, mostEntries, roomUntil } from "./conntrack-shares.ts";
import type { Floods } from "./floods.ts";
import type { Logger } from "./log.ts";
import type { Epoch } from "./state.ts";
import { Turns } from "./turns.ts";
import { Vacancies } from "./vacancies.ts";

const LOOK_EVERY_MS = 100;
/** After a walk none for so many times as long as it took, but one before those that are held are free again. */
const REST = 9;
/** The same where the table has filled so far that somebody may have too much by now. */
const SHORT_REST = 2;
const LONGEST_REST_MS = (CROWDING_FOR_S * 1000) / 3;

/** In the place of a workload's id: all sources in the pods' ranges that no workload owns, which count as one. */
const UNKNOWN = -1;

/** What one workload has in conntrack. */
interface Use {
  entries: number;
  /** By what tells them apart where it matters. */
  readonly addresses: Map<string | boolean, Address>;
}

/**
 * Keeps a pod from filling the node's connection tracking, which all pods share (DESIGN §4.8): where it has more than its share of a
 * table that is filling, it opens no new flows until that is over; open ones go on. Looks at two numbers ten times a second, and
 * walks the table only where somebody can have too much, in turns with others (docs/adr/0024-conntrack-shares.md).
 */
export class CrowdWatch {
  readonly #conntrack: Conntrack;
  readonly #epoch: () => Epoch;
  readonly #floods: Floods;
  readonly #log: Logger;
  readonly #elements = new SetElements(TABLE_NAME);
  readonly #beginnings = new Beginnings();
  readonly #vacancies = new Vacancies();
  readonly #held = new Map<number, number>();
  #timer: NodeJS.Timeout | null = null;
  #walking: Promise<void> | null = null;
  #restUntil = 0;
  #shortRestUntil = 0;
  /** Entries of the table up to which nobody can have come to have too much since the last walk. */
  #roomUntil = 0;
  #closed = false;

  constructor(conntrack: Conntrack, epoch: () => Epoch, floods: Floods, log: Logger) {
    this.#conntrack = conntrack;
    this.#epoch = epoch;
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
    this.#note(this.#epoch());
    if (this.#walking !== null || performance.now() < this.#shortRestUntil) return;
    const fill = readConntrackFill();
    if (fill === null || !isCrowded(fill.entries, fill.limit)) return;
    if (performance.now() < this.#restUntil && fill.entries < this.#roomUntil) return;
    const started = performance.now();
    this.#walking = this.#walk(fill.limit)
      .catch((error: unknown) =>
        this.#log.error({ event: "conntrack-unread", error: String(error) }, "conntrack cannot be walked"),
      )
      .finally(() => {
        const now = performance.now();
        const took = now - started;
        this.#restUntil = now + Math.min(took * REST, LONGEST_REST_MS);
        this.#shortRestUntil = now + Math.min(took * SHORT_REST, LONGEST_REST_MS);
        this.#walking = null;
      });
  }

  #note({ program, inputs }: Epoch): void {
    const now = Date.now();
    this.#beginnings.note(program, now);
    this.#vacancies.note(inputs.workloads, now);
  }

  async #walk(limit: number): Promise<void> {
    const epoch = this.#epoch();
    this.#note(epoch);
    const uses = new Map<number, Use>();
    const turns = new Turns();
    let entries = 0;
    const count = (entry: ConntrackEntry): void => {
      entries++;
      const owner = this.#ownerOf(entry, epoch);
      if (owner !== null) note(uses, owner, entry.original.source);
    };
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const _ of this.#conntrack.dumpInPieces(family, count)) if (turns.isOver()) await turns.next();
    }
    const most = mostEntries(entries, limit);
    const largest = [...uses.values()].reduce((largest, use) => Math.max(largest, use.entries), 0);
    this.#roomUntil = roomUntil(entries, largest, limit);
    for (const [owner, use] of uses) if (use.entries > most && !this.#closed) this.#hold(owner, use, limit);
  }

  /** For whom an entry counts; null: for nobody. */
  #ownerOf({ original: { source }, start }: ConntrackEntry, { program, inputs }: Epoch): number | null {
    const row = program.workloadAt(source.w0, source.w1, source.w2, source.w3);
    if (row < 0) {
      const isPods = inputs.config.podCIDRs.some((range) => cidrContains(range, source));
      return isPods && this.#vacancies.isOfNobody(source, start) ? UNKNOWN : null;
    }
    if (!program.isolated(program.classOfRow(row))) return null;
    const workloadId = program.workloadId(row);
    return this.#beginnings.canBeOf(workloadId, start) ? workloadId : null;
  }

  #hold(owner: number, { entries, addresses }: Use, limit: number): void {
    const now = performance.now();
    const news = now > (this.#held.get(owner) ?? 0);
    this.#held.set(owner, now + CROWDING_FOR_S * 1000);
    for (const [other, until] of this.#held) if (until < now) this.#held.delete(other);
    const families = new Set([...addresses.values()].map((address) => (isIPv4(address) ? "4" : "6")));
    if (owner === UNKNOWN) {
      const held = [...families].filter((family) =>
        this.#renew(CROWDING_UNKNOWN, Uint8Array.of(FAMILY_NUMBER[family])),
      );
      if (held.length > 0) this.#floods.onUnknownCrowding(entries, limit, news);
    } else {
      for (const address of addresses.values()) {
        const held = this.#renew(crowdingSet(isIPv4(address) ? "4" : "6"), addressToBytes(address));
        if (held) this.#floods.onCrowding(address, entries, limit, news);
      }
    }
    // Last, so that it lasts at least as long as what it leads to.
    for (const family of families) this.#renew(CROWDED_FAMILIES, Uint8Array.of(FAMILY_NUMBER[family]));
  }

  /** False: the rules could not be told. */
  #renew(set: string, key: Uint8Array): boolean {
    const keys = [key];
    // Not every kernel lets an element that is there live longer.
    this.#elements.change({ kind: "delete", set, keys });
    const error = this.#elements.change({ kind: "add", set, keys, timeoutMs: CROWDING_FOR_S * 1000 });
    if (error !== 0)
      this.#log.error(
        { event: "conntrack-unheld", error: errnoName(error) },
        "a pod that fills conntrack cannot be held back",
      );
    return error === 0;
  }
}

function note(uses: Map<number, Use>, owner: number, source: Address): void {
  let use = uses.get(owner);
  if (use === undefined) {
    use = { entries: 0, addresses: new Map() };
    uses.set(owner, use);
  }
  use.entries++;
  // There may be as many unknown ones as there are entries, and only of which family they are matters.
  const key = owner === UNKNOWN ? isIPv4(source) : `${source.w0} ${source.w1} ${source.w2} ${source.w3}`;
  if (!use.addresses.has(key)) use.addresses.set(key, source);
}
