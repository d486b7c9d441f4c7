import { type BypassedRange, bypassClock } from "../../kernel/ruleset-sets.ts";
import type { Workload } from "../../model/workload.ts";
import { type Address, formatAddress } from "../../net/address.ts";
import { type Cidr, cidrOf } from "../../net/cidr.ts";
import { cidrUnion } from "../../net/cidr-union.ts";

export const SCOPES = ["Namespace", "Node", "All"] as const;
export type BypassScope = (typeof SCOPES)[number];

/**
 * Enforcement set aside for a while on this node (docs/adr/0020-life-of-a-node.md):
 *
 *     Namespace   pods of one namespace: decided as under policies in Audit mode
 *     Node        every pod of the node, likewise
 *     All         likewise, and the hooks stand aside: nothing is asked, nothing is dropped, nothing is recorded
 */
export interface Bypass {
  /** Eight hexadecimal digits. */
  readonly id: string;
  readonly scope: BypassScope;
  /** With `Namespace` only. */
  readonly namespace: string | null;
  readonly reason: string;
  /** Who asked for it, as far as the node knows. */
  readonly by: string;
  /** ISO 8601, UTC, for people: the clock may be set. */
  readonly since: string;
  readonly until: string;
  /** It ends with this boot. */
  readonly bootID: string;
  /** And at this time of `bypassClock`, in milliseconds. */
  readonly endsAt: number;
}

/** The longest one. */
export const LONGEST_MS = 24 * 3_600_000;
/** How many there may be at once. */
export const MOST_BYPASSES = 64;

const IPV4_BITS = 128;

export function isActive(bypass: Bypass, bootID: string, now = bypassClock()): boolean {
  // One that would last longer than any may was not written by us.
  return bypass.bootID === bootID && bypass.endsAt > now && bypass.endsAt <= now + LONGEST_MS;
}

/** Ids of the workloads to which nothing is denied meanwhile. */
export function bypassedIds(
  bypasses: readonly Bypass[],
  workloads: readonly Pick<Workload, "id" | "namespace">[],
): ReadonlySet<number> {
  if (bypasses.length === 0) return new Set();
  return new Set(workloads.filter((one) => endOf(bypasses, one.namespace) > 0).map(({ id }) => id));
}

/**
 * What the kernel lets pass by itself when nobody answers. Of a node its whole pod ranges, for pods that nobody knows yet; of a namespace
 * the addresses of its pods, each for as long as it is covered. No two overlap. An address that two pods claim is nobody's.
 */
export function bypassedRanges(
  bypasses: readonly Bypass[],
  podRanges: readonly Cidr[],
  workloads: readonly Pick<Workload, "namespace" | "addresses">[],
): readonly BypassedRange[] {
  if (bypasses.length === 0) return [];
  const all = endOf(bypasses, null);
  const addresses = workloads.flatMap((one) => one.addresses);
  // What outlives it is put in again when it ends.
  if (all > 0) return cidrUnion([...podRanges, ...addresses.map(single)]).map((cidr) => ({ cidr, until: all }));
  const owners = new Map<string, number>();
  for (const address of addresses) owners.set(formatAddress(address), (owners.get(formatAddress(address)) ?? 0) + 1);
  return workloads.flatMap(({ namespace, addresses: own }) => {
    const until = endOf(bypasses, namespace);
    if (until === 0) return [];
    return own
      .filter((address) => owners.get(formatAddress(address)) === 1)
      .map((address) => ({ cidr: single(address), until }));
  });
}

/** When the hooks no longer stand aside; 0: they do not. */
export function asideUntil(bypasses: readonly Bypass[]): number {
  return latest(bypasses.filter(({ scope }) => scope === "All"));
}

/** The end of what covers every pod (null), or the pods of a namespace; 0: nothing does. */
function endOf(bypasses: readonly Bypass[], namespace: string | null): number {
  return latest(bypasses.filter((one) => one.scope !== "Namespace" || one.namespace === namespace));
}

function latest(bypasses: readonly Bypass[]): number {
  return Math.max(0, ...bypasses.map(({ endsAt }) => endsAt));
}

function single(address: Address): Cidr {
  return cidrOf(address, IPV4_BITS);
}
