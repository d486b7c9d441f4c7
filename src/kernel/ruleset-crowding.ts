import { droppedSet, type Family } from "./ruleset-police.ts";

/** Seconds for which a pod opens no new flows, unless it is told again that it has too many. */
export const CROWDING_FOR_S = 15;
/** Counts the packets of new flows that are dropped for it. */
export const CROWDING_COUNTER = "crowding";
/** Addresses of a family: a node has 110 pods, seldom 250. */
const MOST = 1_024;

/** Addresses of the pods that have more than their share of conntrack (agent/crowd-watch.ts). */
export function crowdingSet(family: Family): string {
  return `crowding${family}`;
}

/** Empty until a pod has. Their elements stay when the ruleset is refilled. */
export function crowdingSets(): string {
  return (["4", "6"] as const)
    .map(
      (family) =>
        `set ${crowdingSet(family)} {\ntype ipv${family}_addr\nflags dynamic,timeout\nsize ${MOST}\ntimeout ${CROWDING_FOR_S}s\n}`,
    )
    .join("\n");
}

/**
 * Where a pod opens a flow, whatever it is and wherever it leads: an entry that is not confirmed takes no room, so a dropped packet
 * costs the table nothing. Dropped, not reset: once there is room the client's own retry finds it. What has an entry goes on, also where
 * nobody has answered yet: to conntrack such a packet is `new`, too.
 */
export function crowdingChains(): string {
  return `
chain opens {
ct status confirmed return
ip saddr @${crowdingSet("4")} goto over_share
ip6 saddr @${crowdingSet("6")} goto over_share
}
chain over_share {
update @${droppedSet("4")} { ip saddr }
update @${droppedSet("6")} { ip6 saddr }
counter name ${CROWDING_COUNTER} drop
}`;
}
