import { type Address, isIPv4, sameAddress } from "../net/address.ts";

/** What a workload resolved to one address. Frozen; the same object until something changes. */
export interface Bound {
  /** Questions whose answer held the address, last learned last. */
  readonly names: readonly string[];
  /** CNAMEs on the way; they bind for Deny only. */
  readonly aliases: readonly string[];
}

export const NOTHING_BOUND: Bound = Object.freeze({ names: Object.freeze([]), aliases: Object.freeze([]) });

export const ALIASES_PER_ADDRESS = 256;

export interface NameEntry {
  readonly name: string;
  /** Of `name`: hundreds of names that differ in their last letters may share an address. */
  readonly hash: number;
  aliases: readonly string[];
  expires: number;
  /** The end that a journal was told last. */
  told: number;
}

export interface AddressEntry {
  readonly address: Address;
  readonly hash: number;
  /** Least recently learned first. */
  names: NameEntry[];
  /** Null: its names have changed since it was made. */
  bound: Bound | null;
  /** None of `names` expires before this. */
  expires: number;
  sameHash: AddressEntry | null;
  newer: AddressEntry | null;
  older: AddressEntry | null;
}

/** The addresses of one workload: by hash, and in a list by when they were last useful. */
export interface WorkloadEntry {
  readonly byHash: Map<number, AddressEntry>;
  bindings: number;
  newest: AddressEntry | null;
  oldest: AddressEntry | null;
}

/** What the names of an entry are, made when it is asked for: answers come more often than flows. */
export function boundOf(entry: AddressEntry): Bound {
  entry.bound ??= makeBound(entry);
  return entry.bound;
}

function makeBound(entry: AddressEntry): Bound {
  const aliases = new Set<string>();
  for (const name of entry.names) {
    for (const alias of name.aliases) {
      if (aliases.size < ALIASES_PER_ADDRESS) aliases.add(alias);
    }
  }
  return Object.freeze({
    names: Object.freeze(entry.names.map((name) => name.name)),
    aliases: aliases.size === 0 ? NOTHING_BOUND.aliases : Object.freeze([...aliases]),
  });
}

export function hashName(name: string): number {
  let hash = name.length;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
}

/** Place of a name among those of an address, -1: not there. The name that was learned last is looked at first. */
export function indexOfName(names: readonly NameEntry[], name: string, hash: number): number {
  for (let at = names.length - 1; at >= 0; at--) if (names[at]!.hash === hash && names[at]!.name === name) return at;
  return -1;
}

export function firstExpiry(names: readonly NameEntry[]): number {
  let first = Number.POSITIVE_INFINITY;
  for (const name of names) first = Math.min(first, name.expires);
  return first;
}

/** Seeded, for a pod with a zone of its own chooses which IPv6 addresses it binds. */
export function hashAddress(address: Address, seed: number): number {
  if (isIPv4(address)) return address.w3;
  let hash = seed ^ 0x9e3779b9;
  hash = mix(hash ^ address.w0);
  hash = mix(hash ^ address.w1);
  hash = mix(hash ^ address.w2);
  return mix(hash ^ address.w3) >>> 0;
}

function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

export function find(workload: WorkloadEntry, hash: number, address: Address): AddressEntry | null {
  let entry = workload.byHash.get(hash) ?? null;
  while (entry !== null && !sameAddress(entry.address, address)) entry = entry.sameHash;
  return entry;
}

export function insert(workload: WorkloadEntry, hash: number, address: Address): AddressEntry {
  const sameHash = workload.byHash.get(hash) ?? null;
  const entry: AddressEntry = {
    address: { w0: address.w0, w1: address.w1, w2: address.w2, w3: address.w3 },
    hash,
    names: [],
    bound: null,
    expires: Number.POSITIVE_INFINITY,
    sameHash,
    newer: null,
    older: workload.newest,
  };
  workload.byHash.set(hash, entry);
  if (workload.newest === null) workload.oldest = entry;
  else workload.newest.newer = entry;
  workload.newest = entry;
  return entry;
}

export function remove(workload: WorkloadEntry, entry: AddressEntry): void {
  unlink(workload, entry);
  const first = workload.byHash.get(entry.hash)!;
  if (first === entry) {
    if (entry.sameHash === null) workload.byHash.delete(entry.hash);
    else workload.byHash.set(entry.hash, entry.sameHash);
    return;
  }
  let before = first;
  while (before.sameHash !== entry) before = before.sameHash!;
  before.sameHash = entry.sameHash;
}

export function moveToFront(workload: WorkloadEntry, entry: AddressEntry): void {
  if (workload.newest === entry) return;
  unlink(workload, entry);
  entry.older = workload.newest;
  if (workload.newest !== null) workload.newest.newer = entry;
  else workload.oldest = entry;
  workload.newest = entry;
}

function unlink(workload: WorkloadEntry, entry: AddressEntry): void {
  if (entry.newer === null) workload.newest = entry.older;
  else entry.newer.older = entry.older;
  if (entry.older === null) workload.oldest = entry.newer;
  else entry.older.newer = entry.newer;
  entry.newer = entry.older = null;
}
