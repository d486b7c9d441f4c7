import { droppedSet, type Family } from "./ruleset-police.ts";

/** Seconds for which a pod opens no new flows, unless it is told again that it has too many. */
export const CROWDING_FOR_S = 15;
/** Count the packets of new flows that are dropped for it: of pods, and of sources that no workload owns. */
export const CROWDING_COUNTERS = ["crowding", "crowding_unknown"] as const;
/** Protocol families (`FAMILY_NUMBER`) of which anybody is kept from opening flows. */
export const CROWDED_FAMILIES = "crowded_families";
/** Those of which sources are that no workload owns. */
export const CROWDING_UNKNOWN = "crowding_unknown";
/** As `meta nfproto` has it (linux/netfilter.h). */
export const FAMILY_NUMBER: Readonly<Record<Family, number>> = { "4": 2, "6": 10 };
/** Addresses of a family: a node has 110 pods, seldom 250. */
const MOST = 1_024;

/** Addresses of the pods that have more than their share of conntrack (agent/crowd-watch.ts). */
export function crowdingSet(family: Family): string {
  return `crowding${family}`;
}

/** Empty until a pod has. Their elements stay when the ruleset is refilled. */
export function crowdingSets(): string {
  const set = (name: string, type: string, size: number): string =>
    `set ${name} {\ntype ${type}\nflags dynamic,timeout\nsize ${size}\ntimeout ${CROWDING_FOR_S}s\n}`;
  return [
    set(CROWDED_FAMILIES, "nf_proto", 2),
    set(CROWDING_UNKNOWN, "nf_proto", 2),
    ...(["4", "6"] as const).map((family) => set(crowdingSet(family), `ipv${family}_addr`, MOST)),
  ].join("\n");
}

/**
 * Where a pod opens a flow, whatever it is and wherever it leads: an entry that is not confirmed takes no room, so a dropped packet
 * costs the table nothing. Dropped, not reset: once there is room the client's own retry finds it. What has an entry goes on, also where
 * nobody has answered yet: to conntrack such a packet is `new`, too.
 *
 * While nobody is kept from it that is one look-up; whether a workload owns the source is looked up only while those are that none does.
 */
export function crowdingChains(): string {
  return `
chain opens {
ct status confirmed return
meta nfproto @${CROWDED_FAMILIES} goto crowded
}
chain crowded {
ip saddr @${crowdingSet("4")} goto over_share
ip6 saddr @${crowdingSet("6")} goto over_share
meta nfproto @${CROWDING_UNKNOWN} goto unknown_over_share
}
chain unknown_over_share {
ip saddr @workloads4 return
ip6 saddr @workloads6 return
counter name ${CROWDING_COUNTERS[1]} drop
}
chain over_share {
update @${droppedSet("4")} { ip saddr }
update @${droppedSet("6")} { ip6 saddr }
counter name ${CROWDING_COUNTERS[0]} drop
}`;
}
