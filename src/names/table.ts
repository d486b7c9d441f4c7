import type { Address } from "../net/address.ts";
import {
  type AddressEntry,
  ALIASES_PER_ADDRESS,
  type Bound,
  boundOf,
  find,
  firstExpiry,
  hashAddress,
  hashName,
  indexOfName,
  insert,
  moveToFront,
  type NameEntry,
  NOTHING_BOUND,
  remove,
  type WorkloadEntry,
} from "./addresses.ts";

export { type Bound, NOTHING_BOUND } from "./addresses.ts";

/** A hostile TTL must not bind for ever (RFC 8767 §4 caps at seven days too). */
const LONGEST_TTL_SECONDS = 604_800;
/** Part of `inUseMs`: a binding in use is told of before the end that was told last. */
const TELL_AFTER = 0.4;

export interface NameTableOptions {
  /** Bound on name–address pairs of one workload. */
  readonly bindingsPerWorkload: number;
  /** A binding lives max(TTL, this). */
  readonly minimumLifetimeMs?: number;
  /** How long a touch keeps a binding alive; longer than touches are apart. */
  readonly inUseMs?: number;
  readonly namesPerAddress?: number;
  /** Secret of this run: the pod chooses the addresses that are hashed. */
  readonly seed?: number;
  /** Told of each pair that is new, has gained aliases, or lives notably longer than was last told: for a journal. */
  readonly onLearned?: (binding: Binding) => void;
}

/** One name–address pair, as a journal keeps it. `expires` is on the clock of `now`. */
export interface Binding {
  readonly workloadId: number;
  readonly address: Address;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly expires: number;
}

/**
 * Bindings: which names each workload resolved to which address. Kept apart by workload, with a bound for each, so that
 * one pod's look-ups open no door for another, and a pod that floods its table loses its own bindings only (least
 * recently useful address first). Shared CDN addresses stay cheap: a few names an address, oldest out.
 */
export class NameTable {
  readonly #limit: number;
  readonly #minimumLifetime: number;
  readonly #inUse: number;
  readonly #namesPerAddress: number;
  readonly #seed: number;
  readonly #onLearned: ((binding: Binding) => void) | null;
  readonly #workloads = new Map<number, WorkloadEntry>();
  #bindings = 0;
  #evicted = 0;

  constructor(options: NameTableOptions) {
    this.#limit = Math.max(1, options.bindingsPerWorkload);
    this.#minimumLifetime = options.minimumLifetimeMs ?? 3_600_000;
    this.#inUse = options.inUseMs ?? 600_000;
    this.#namesPerAddress = Math.min(options.namesPerAddress ?? 64, this.#limit);
    this.#seed = options.seed ?? 0;
    this.#onLearned = options.onLearned ?? null;
  }

  /** Pairs held now; expired ones count until they are met. */
  get bindings(): number {
    return this.#bindings;
  }

  /** Pairs that were dropped before their time because a bound was reached; monotonic. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Binds `question` (canonical) to each address. `aliases` are the CNAMEs between them. Times in ms, TTL in seconds. */
  learn(
    workloadId: number,
    question: string,
    aliases: readonly string[],
    addresses: readonly Address[],
    ttlSeconds: number,
    now: number,
  ): void {
    const expires = now + Math.max(Math.min(ttlSeconds, LONGEST_TTL_SECONDS) * 1000, this.#minimumLifetime);
    for (const address of addresses) this.#take(workloadId, address, question, aliases, expires, now);
  }

  /** Takes a binding with a known end: from the journal of an earlier run. */
  restore(binding: Binding, now: number): void {
    const { workloadId, address, name, aliases, expires } = binding;
    if (expires > now) this.#take(workloadId, address, name, aliases, expires, now);
  }

  #take(
    workloadId: number,
    address: Address,
    name: string,
    aliases: readonly string[],
    expires: number,
    now: number,
  ): void {
    let workload = this.#workloads.get(workloadId);
    if (workload === undefined) {
      workload = { byHash: new Map(), bindings: 0, newest: null, oldest: null };
      this.#workloads.set(workloadId, workload);
    }
    const hash = hashAddress(address, this.#seed);
    const entry = find(workload, hash, address) ?? insert(workload, hash, address);
    this.#bind(workloadId, workload, entry, name, aliases, expires);
    moveToFront(workload, entry);
    while (workload.bindings > this.#limit) this.#evictOldest(workload, entry, now);
  }

  /** What the workload resolved to the address; `NOTHING_BOUND` if nothing is known. Being asked for keeps an entry from eviction. */
  lookup(workloadId: number, address: Address, now: number): Bound {
    const entry = this.#use(workloadId, address, now);
    return entry === null ? NOTHING_BOUND : boundOf(entry);
  }

  /** When the first of what is bound to the address ends; Infinity where nothing is. */
  boundUntil(workloadId: number, address: Address, now: number): number {
    return this.#use(workloadId, address, now)?.expires ?? Number.POSITIVE_INFINITY;
  }

  /** A live flow uses the address: its bindings stay while that goes on. What has expired is not revived. */
  touch(workloadId: number, address: Address, now: number): void {
    const entry = this.#use(workloadId, address, now);
    if (entry === null) return;
    for (const name of entry.names) {
      name.expires = Math.max(name.expires, now + this.#inUse);
      if (name.expires - name.told > this.#inUse * TELL_AFTER) this.#tell(workloadId, address, name);
    }
    entry.expires = firstExpiry(entry.names);
  }

  /** The workload is gone; its id is never used again. */
  forgetWorkload(workloadId: number): void {
    const workload = this.#workloads.get(workloadId);
    if (workload === undefined) return;
    this.#bindings -= workload.bindings;
    this.#workloads.delete(workloadId);
  }

  /** Every binding that has not expired, for the journal; least recently useful first, so that replaying keeps the order. */
  *all(now: number): Generator<Binding> {
    for (const [workloadId, workload] of this.#workloads) {
      for (let entry = workload.oldest; entry !== null; entry = entry.newer) {
        for (const { name, aliases, expires } of entry.names) {
          if (expires > now) yield { workloadId, address: entry.address, name, aliases, expires };
        }
      }
    }
  }

  /** The entry of the address without what has expired, null where nothing is left; it is the most recently useful one now. */
  #use(workloadId: number, address: Address, now: number): AddressEntry | null {
    const workload = this.#workloads.get(workloadId);
    if (workload === undefined) return null;
    const entry = find(workload, hashAddress(address, this.#seed), address);
    if (entry === null || (now >= entry.expires && !this.#expire(workload, entry, now))) return null;
    moveToFront(workload, entry);
    return entry;
  }

  /** A repeated answer moves its name behind the others and its end, nothing else. */
  #bind(
    workloadId: number,
    workload: WorkloadEntry,
    entry: AddressEntry,
    name: string,
    aliases: readonly string[],
    expires: number,
  ): void {
    const { names } = entry;
    const hash = hashName(name);
    const at = indexOfName(names, name, hash);
    if (at >= 0) {
      const known = names[at]!;
      if (at < names.length - 1) {
        names.splice(at, 1);
        names.push(known);
        entry.bound = null;
      }
      // The chain of an earlier answer still binds for Deny as long as the name is bound.
      const all = union(known.aliases, aliases);
      const changed = all !== known.aliases;
      if (changed) {
        known.aliases = all;
        entry.bound = null;
      }
      known.expires = Math.max(known.expires, expires);
      if (changed || known.expires - known.told > this.#inUse * TELL_AFTER)
        this.#tell(workloadId, entry.address, known);
      return;
    }
    const fresh: NameEntry = { name, hash, aliases, expires, told: 0 };
    names.push(fresh);
    entry.bound = null;
    entry.expires = Math.min(entry.expires, expires);
    this.#tell(workloadId, entry.address, fresh);
    this.#count(workload, 1);
    if (names.length > this.#namesPerAddress) {
      names.shift();
      this.#count(workload, -1);
      this.#evicted++;
    }
  }

  #tell(workloadId: number, address: Address, entry: NameEntry): void {
    if (this.#onLearned === null) return;
    entry.told = entry.expires;
    const { name, aliases, expires } = entry;
    this.#onLearned({ workloadId, address, name, aliases, expires });
  }

  /** Drops what has expired; false: nothing is left of the entry. */
  #expire(workload: WorkloadEntry, entry: AddressEntry, now: number): boolean {
    const alive = entry.names.filter((name) => name.expires > now);
    entry.expires = firstExpiry(alive);
    if (alive.length === entry.names.length) return true;
    this.#count(workload, alive.length - entry.names.length);
    entry.names = alive;
    entry.bound = null;
    if (alive.length === 0) {
      remove(workload, entry);
      return false;
    }
    return true;
  }

  #evictOldest(workload: WorkloadEntry, keep: AddressEntry, now: number): void {
    const entry = workload.oldest!;
    if (entry.expires <= now) {
      this.#expire(workload, entry, now);
      return;
    }
    if (entry !== keep) {
      this.#evicted += entry.names.length;
      this.#count(workload, -entry.names.length);
      remove(workload, entry);
      return;
    }
    entry.names.shift();
    this.#evicted++;
    this.#count(workload, -1);
    entry.bound = null;
  }

  #count(workload: WorkloadEntry, change: number): void {
    workload.bindings += change;
    this.#bindings += change;
  }
}

function union(known: readonly string[], added: readonly string[]): readonly string[] {
  if (added.every((alias) => known.includes(alias))) return known;
  return [...new Set([...added, ...known])].slice(0, ALIASES_PER_ADDRESS);
}
