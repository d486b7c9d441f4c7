import type { Address } from "../net/address.ts";
import type { Cidr } from "../net/cidr.ts";
import { type CidrTableData, NONE } from "./layout.ts";
import type { PostingsBuilder } from "./postings.ts";
import { shareWords } from "./words.ts";

/** A set of addresses: in one of `cidrs`, and in none of `except`. */
export interface CidrSet {
  readonly cidrs: readonly Cidr[];
  readonly except: readonly Cidr[];
}

/** Row of `prefixes`: the next wider prefix, the sets that hold this one, the sets that take it out. */
export const PREFIX = { parent: 0, members: 1, excepts: 2, stride: 3 } as const;

interface Prefix {
  readonly first: bigint;
  readonly last: bigint;
  readonly bits: number;
  readonly members: Set<number>;
  readonly excepts: Set<number>;
}

const WIDTH = 128;
const END = 1n << 128n;
const IPV4_BASE = 0xffffn << 32n;
const IPV4_BITS = 96;

/**
 * Prefixes are nested or apart, so an address is in exactly the chain of prefixes around it: the table holds each prefix
 * once, with its parent, however many sets overlap, and the disjoint segments that the prefixes cut the space into.
 * `::/0` and other short IPv6 prefixes do not hold the IPv4 addresses mapped inside them.
 */
export function buildCidrTable(sets: readonly CidrSet[], postings: PostingsBuilder): CidrTableData {
  const sorted = collect(sets);
  const index = new Map(sorted.map((prefix, i) => [prefix, i]));
  const rows: number[] = [];
  const starts: number[] = [];
  const innermost: number[] = [];
  const open: Prefix[] = [];
  const segment = (start: bigint, prefix: Prefix | undefined) => {
    if (start === END) return;
    const words = wordsOf(start);
    const same = starts.length > 0 && words.every((word, i) => starts[starts.length - 4 + i] === word);
    if (same) innermost.pop();
    else starts.push(...words);
    innermost.push(prefix === undefined ? -1 : index.get(prefix)!);
  };
  const closeBefore = (start: bigint) => {
    while (open.length > 0 && open.at(-1)!.last < start) segment(open.pop()!.last + 1n, open.at(-1));
  };
  for (const prefix of sorted) {
    closeBefore(prefix.first);
    const isIPv4Root = prefix.first === IPV4_BASE && prefix.bits === IPV4_BITS;
    const parent = isIPv4Root || open.length === 0 ? NONE : index.get(open.at(-1)!)!;
    rows.push(parent, postings.add(ascending(prefix.members)), postings.add(ascending(prefix.excepts)));
    segment(prefix.first, prefix);
    open.push(prefix);
  }
  closeBefore(END);
  const innermostShared = new Int32Array(shareWords(innermost).buffer);
  return { starts: shareWords(starts), innermost: innermostShared, prefixes: shareWords(rows), setCount: sets.length };
}

/** The distinct prefixes, wider ones before those inside; the root of IPv4 is always there and cuts the chain. */
function collect(sets: readonly CidrSet[]): Prefix[] {
  const known = new Map<string, Prefix>();
  const at = (first: bigint, bits: number): Prefix => {
    const key = `${first}/${bits}`;
    let prefix = known.get(key);
    if (prefix === undefined) {
      const last = first | ((1n << BigInt(WIDTH - bits)) - 1n);
      prefix = { first, last, bits, members: new Set(), excepts: new Set() };
      known.set(key, prefix);
    }
    return prefix;
  };
  at(IPV4_BASE, IPV4_BITS);
  for (const [id, set] of sets.entries()) {
    for (const cidr of set.cidrs) at(bigOf(cidr.base), cidr.bits).members.add(id);
    for (const cidr of set.except) at(bigOf(cidr.base), cidr.bits).excepts.add(id);
  }
  return [...known.values()].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : a.bits - b.bits));
}

/** The row of the innermost prefix around an address, or -1. */
export function findPrefix(table: CidrTableData, w0: number, w1: number, w2: number, w3: number): number {
  const { starts } = table;
  let low = 0;
  let high = table.innermost.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (startsAfter(starts, middle * 4, w0, w1, w2, w3)) high = middle;
    else low = middle + 1;
  }
  return low === 0 ? -1 : table.innermost[low - 1]!;
}

/** Whether a table of one set (id 0) without exceptions holds an address. */
export function holdsAddress(table: CidrTableData, address: Address): boolean {
  let prefix = findPrefix(table, address.w0, address.w1, address.w2, address.w3);
  while (prefix >= 0) {
    if (table.prefixes[prefix * PREFIX.stride + PREFIX.members] !== 0) return true;
    prefix = table.prefixes[prefix * PREFIX.stride + PREFIX.parent]! | 0;
  }
  return false;
}

function startsAfter(starts: Uint32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean {
  if (starts[at] !== w0) return starts[at]! > w0;
  if (starts[at + 1] !== w1) return starts[at + 1]! > w1;
  if (starts[at + 2] !== w2) return starts[at + 2]! > w2;
  return starts[at + 3]! > w3;
}

function ascending(ids: ReadonlySet<number>): number[] {
  return [...ids].sort((a, b) => a - b);
}

function bigOf(address: Address): bigint {
  return (BigInt(address.w0) << 96n) | (BigInt(address.w1) << 64n) | (BigInt(address.w2) << 32n) | BigInt(address.w3);
}

function wordsOf(value: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number((value >> shift) & 0xffffffffn));
}
