import type { Vocabulary } from "./ruleset.ts";
import { hostPolice } from "./ruleset-host.ts";

/**
 * Questions a second that a policed pod may still ask, most first; a pod is moved on to the next while it still crowds the
 * queue. A lane answers some 100,000 a second of one core, an honest pod asks a few hundred.
 */
export const POLICE_RATES = [16_000, 4_000, 1_000] as const;
/** Seconds without a packet over the rate after which a pod is policed no more. */
export const POLICED_FOR_S = 10;
/** Questions a second of all sources together that no workload owns (yet), and how many at once. The lane holds 256. */
export const UNKNOWN_RATE = 1_000;
const UNKNOWN_BURST = 512;
/** A pod of which nothing was dropped for so long is forgotten in the counts. */
const COUNTED_FOR_S = 3_600;
/** Policed addresses of a family: a node has 110 pods, seldom 250. */
const MOST = 1_024;

/** The named counters of what this file drops. */
export const POLICE_COUNTERS = ["policed", "policed_unknown"] as const;

export type Family = "4" | "6";

/** The sets that an address joins to be policed at `POLICE_RATES[step]`. */
export function policedSets(family: Family, step: number): readonly [string, string] {
  return [policedSet(family), rateSet(POLICE_RATES[step]!, family)];
}

/** How many packets of each address were dropped. */
export function droppedSet(family: Family): string {
  return `policed_packets${family}`;
}

/** Who is policed, at whatever rate. */
function policedSet(family: Family): string {
  return `policed${family}`;
}

function rateSet(rate: number, family: Family): string {
  return `policed_${rate}_${family}`;
}

/** Empty until a pod floods. Their elements stay when the ruleset is refilled. */
export function policeSets(): string {
  const both = (name: (family: Family) => string, rest: string): string[] => [
    `set ${name("4")} {\ntype ipv4_addr\nflags dynamic,timeout\nsize ${MOST}\n${rest}}`,
    `set ${name("6")} {\ntype ipv6_addr\nflags dynamic,timeout\nsize ${MOST}\n${rest}}`,
  ];
  return [
    ...both(policedSet, ""),
    ...POLICE_RATES.flatMap((rate) =>
      both((family) => rateSet(rate, family), `limit rate over ${rate}/second burst ${rate / 8} packets\n`),
    ),
    ...both(droppedSet, `timeout ${COUNTED_FOR_S}s\ncounter\n`),
  ].join("\n");
}

/**
 * Before the strict queue, which all isolated pods share: a pod that floods must not fill it (DESIGN §4.8). While none does this is two
 * look-ups a question. The lane sees who crowds the queue and puts the address into the sets (agent/flood-watch.ts);
 * each packet over the rate keeps it there, so that it stays policed as long as it goes on, whatever the lane does meanwhile.
 *
 * Sources that no workload owns share one rate: with addresses of its range a pod behind a bridge has as many as it likes. Not
 * where the node fails open: while there is no agent nobody says who is new, and their packets pass.
 */
export function policeChains(w: Vocabulary): string {
  return [...(["saddr", "daddr"] as const).map((field) => chainsOf(w, field)), hostPolice(w).chains].join("\n");
}

function chainsOf(w: Vocabulary, field: "saddr" | "daddr"): string {
  const name = field === "saddr" ? "sender" : "receiver";
  const rates = POLICE_RATES.flatMap((rate) => [
    `ip ${field} @${rateSet(rate, "4")} goto over_${rate}_${name}`,
    `ip6 ${field} @${rateSet(rate, "6")} goto over_${rate}_${name}`,
  ]);
  const refresh = (set: (family: Family) => string): string =>
    `update @${set("4")} { ip ${field} timeout ${POLICED_FOR_S}s }\nupdate @${set("6")} { ip6 ${field} timeout ${POLICED_FOR_S}s }`;
  const over = POLICE_RATES.map(
    (rate) => `chain over_${rate}_${name} {\n${refresh((family) => rateSet(rate, family))}\ngoto over_${name}\n}`,
  );
  const unknown =
    w.spec.failMode === "Open"
      ? ""
      : ["ip", "ip6"]
          .map((ip, at) => `${ip} ${field} != @workloads${at === 0 ? "4" : "6"} goto ${unknownChainOf(w, field)}`)
          .join("\n");
  return `
chain police_${name} {
${unknown}
ip ${field} @policed4 goto rate_${name}
ip6 ${field} @policed6 goto rate_${name}
}
chain rate_${name} {
${rates.join("\n")}
}
${over.join("\n")}
chain over_${name} {
${refresh(policedSet)}
update @${droppedSet("4")} { ip ${field} }
update @${droppedSet("6")} { ip6 ${field} }
counter name policed drop
}
${field === "saddr" && unknown !== "" ? unknownChain(w) : ""}`;
}

function unknownChainOf(w: Vocabulary, field: "saddr" | "daddr"): string {
  return field === "saddr" ? "police_unknown" : hostPolice(w).receiver;
}

function unknownChain(w: Vocabulary): string {
  return `chain police_unknown {
${hostPolice(w).sender}
limit rate over ${UNKNOWN_RATE}/second burst ${UNKNOWN_BURST} packets counter name policed_unknown drop
}`;
}
