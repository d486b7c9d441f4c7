import { uptime } from "node:os";
import type { InternalEndpoint } from "../model/config.ts";
import { type Address, formatAddress, isIPv4 } from "../net/address.ts";
import { type Cidr, cidrIsIPv4, formatCidr } from "../net/cidr.ts";

/** What the ruleset knows of the world. Addresses of both families in one list; they are sorted into sets here. */
export interface RulesetSets {
  /** Ranges of this node's own pods: every source in them is a workload, known or not. */
  readonly podRanges: readonly Cidr[];
  /** Addresses of all known workloads. Never those of pods on the host network: they are the node's. */
  readonly workloads: readonly Address[];
  /** Those of them that are not isolated. */
  readonly observed: readonly Address[];
  /** Ranges that are not egress. */
  readonly inside: readonly Cidr[];
  readonly internalEndpoints: readonly InternalEndpoint[];
  readonly resolvers: readonly Address[];
  /** Names of interfaces behind which there are only pods of this node. */
  readonly podInterfaces: readonly string[];
  /** Pods that pass for a while as observed ones do, without overlaps. The kernel forgets them by itself. */
  readonly bypass: readonly BypassedRange[];
  /** When the hooks no longer stand aside, in milliseconds of `bypassClock`; 0: they do not. */
  readonly asideUntil: number;
}

/** Knows nothing. */
export const NO_SETS: RulesetSets = {
  podRanges: [],
  workloads: [],
  observed: [],
  inside: [],
  internalEndpoints: [],
  resolvers: [],
  podInterfaces: [],
  bypass: [],
  asideUntil: 0,
};

export interface BypassedRange {
  readonly cidr: Cidr;
  /** In milliseconds of `bypassClock`. */
  readonly until: number;
}

export interface NftSet {
  readonly name: string;
  readonly type: string;
  readonly interval: boolean;
  /** Rules add its elements, each for so long; it is full at so many. */
  readonly dynamic?: { readonly milliseconds: number; readonly size: number };
  /** Sorted, without repetition. */
  readonly elements: readonly string[];
  /** Each element has an end of its own, in milliseconds of `bypassClock`: the kernel takes it away then. */
  readonly ends?: ReadonlyMap<string, number>;
}

const WIDTH = 8;

type PairSet = (typeof CARRY_SETS | typeof TOLD_SETS)[number];

/** Pairs of a pod and a destination whose flows the kernel opens itself (ruleset-carry.ts). */
export const CARRY_SETS = ["carry4", "carry6"] as const;
/** How long an element lives; nothing makes it live longer. What the agent allowed is open for so long when it dies. */
export const CARRY_SECONDS = 5;
/** Pairs of a pod and a destination whose SYNs go on unasked (ruleset-told.ts). */
export const TOLD_SETS = ["told4", "told6"] as const;
/** As short as a busy pair needs: when the agent dies, connections that begin within it are opened and then reset. */
export const TOLD_MS = 100;
/** Of each set. The agent keeps each workload far below it. */
const MOST_PAIRS = 65_536;

/** Holds both protocol families while the hooks stand aside. */
export const ASIDE_SET = "stand_aside";

/** Milliseconds since the machine started, also while it slept: nobody sets this clock, and with the machine ends what it bounds. */
export function bypassClock(): number {
  return uptime() * 1000;
}

/** Every set with its elements, as the body of a table. `now`: of `bypassClock`. */
export function renderSets(sets: RulesetSets, now: number): string {
  return nftSets(sets)
    .map((set) => renderSet(set, now))
    .join("\n");
}

/** The names of all sets. */
export function setNames(sets: RulesetSets): string[] {
  return nftSets(sets).map(({ name }) => name);
}

/**
 * The difference of two states of the sets as one nft transaction; "" where they are the same. Ranges are replaced as a
 * whole, for nft merges them and could not find a single one again.
 */
export function renderSetUpdate(table: string, before: RulesetSets, after: RulesetSets, now = bypassClock()): string {
  const old = new Map(nftSets(before).map((set) => [set.name, set.elements]));
  const oldEnds = new Map(nftSets(before).map((set) => [set.name, endsText(set)]));
  let text = "";
  for (const set of nftSets(after)) {
    if (set.ends !== undefined) {
      if (endsText(set) === oldEnds.get(set.name)) continue;
      text += `flush set ${table} ${set.name}\n${elementCommand("add", table, set.name, timed(set, now))}`;
      continue;
    }
    const had = new Set(old.get(set.name));
    const has = new Set(set.elements);
    const added = set.elements.filter((element) => !had.has(element));
    const removed = [...had].filter((element) => !has.has(element));
    if (added.length === 0 && removed.length === 0) continue;
    if (set.interval) {
      text += `flush set ${table} ${set.name}\n${elementCommand("add", table, set.name, set.elements)}`;
    } else {
      text += elementCommand("delete", table, set.name, removed) + elementCommand("add", table, set.name, added);
    }
  }
  return text;
}

/** Puts these in the place of all that is let pass for a while, as input of `nft -f -`; rules and other sets stay. */
export function renderBypass(
  table: string,
  { bypass, asideUntil }: Pick<RulesetSets, "bypass" | "asideUntil">,
  now = bypassClock(),
): string {
  return bypassSets(bypass, asideUntil)
    .map((set) => `flush set ${table} ${set.name}\n${elementCommand("add", table, set.name, timed(set, now))}`)
    .join("");
}

function endsText({ ends }: NftSet): string {
  return JSON.stringify([...(ends ?? [])]);
}

/** With the time that each has left; what has none is not there any more. */
function timed({ elements, ends }: NftSet, now: number): string[] {
  return elements.flatMap((element) => {
    const left = Math.floor((ends?.get(element) ?? 0) - now);
    return left > 0 ? [`${element} timeout ${left}ms`] : [];
  });
}

function elementCommand(verb: "add" | "delete", table: string, name: string, elements: readonly string[]): string {
  return elements.length === 0 ? "" : `${verb} element ${table} ${name} { ${elements.join(", ")} }\n`;
}

/** Every set with its elements as nft writes them. */
export function nftSets(sets: RulesetSets): NftSet[] {
  const both = (name: string, elements: readonly Address[]): NftSet[] => [
    addressSet(`${name}4`, "ipv4_addr", elements.filter(isIPv4).map(formatAddress)),
    addressSet(`${name}6`, "ipv6_addr", elements.filter((address) => !isIPv4(address)).map(formatAddress)),
  ];
  const ranges = (name: string, elements: readonly Cidr[]): NftSet[] => [
    rangeSet(`${name}4`, "ipv4_addr", elements.filter(cidrIsIPv4).map(formatCidr)),
    rangeSet(`${name}6`, "ipv6_addr", elements.filter((cidr) => !cidrIsIPv4(cidr)).map(formatCidr)),
  ];
  const endpoints = (name: string, type: string, wanted: boolean): NftSet =>
    addressSet(
      name,
      `${type} . inet_proto . inet_service`,
      sets.internalEndpoints
        .filter((endpoint) => isIPv4(endpoint.address) === wanted)
        .map((endpoint) => `${formatAddress(endpoint.address)} . ${endpoint.protocol} . ${endpoint.port}`),
    );
  return [
    ...ranges("pod_ranges", sets.podRanges),
    ...both("workloads", sets.workloads),
    ...both("observed", sets.observed),
    ...ranges("inside", sets.inside),
    endpoints("internal_endpoints4", "ipv4_addr", true),
    endpoints("internal_endpoints6", "ipv6_addr", false),
    ...both("resolvers", sets.resolvers),
    pairSet("carry4", "ipv4_addr", "inet_proto . inet_service", CARRY_SECONDS * 1000),
    pairSet("carry6", "ipv6_addr", "inet_proto . inet_service", CARRY_SECONDS * 1000),
    pairSet("told4", "ipv4_addr", "inet_service", TOLD_MS),
    pairSet("told6", "ipv6_addr", "inet_service", TOLD_MS),
    ...bypassSets(sets.bypass, sets.asideUntil),
    addressSet(
      "pod_interfaces",
      "ifname",
      sets.podInterfaces.filter(isInterfaceName).map((name) => `"${name}"`),
    ),
  ];
}

/** Names come from the kernel, but nft text is no place for a quote. IFNAMSIZ is 16 with the closing NUL. */
function isInterfaceName(name: string): boolean {
  return /^[A-Za-z0-9_.@:-]{1,15}$/.test(name);
}

function addressSet(name: string, type: string, elements: readonly string[]): NftSet {
  return { name, type, interval: false, elements: [...new Set(elements)].sort() };
}

function pairSet(name: PairSet, address: string, port: string, milliseconds: number): NftSet {
  const dynamic = { milliseconds, size: MOST_PAIRS };
  return { name, type: `${address} . ${address} . ${port}`, interval: false, dynamic, elements: [] };
}

function bypassSets(ranges: readonly BypassedRange[], until: number): NftSet[] {
  return [
    bypassSet(
      "bypass4",
      "ipv4_addr",
      ranges.filter(({ cidr }) => cidrIsIPv4(cidr)),
    ),
    bypassSet(
      "bypass6",
      "ipv6_addr",
      ranges.filter(({ cidr }) => !cidrIsIPv4(cidr)),
    ),
    asideSet(until),
  ];
}

function bypassSet(name: string, type: string, ranges: readonly BypassedRange[]): NftSet {
  const ends = new Map(ranges.map(({ cidr, until }) => [formatCidr(cidr), until]));
  return { name, type, interval: true, elements: [...ends.keys()].sort(), ends };
}

function asideSet(until: number): NftSet {
  const elements = until > 0 ? ["ipv4", "ipv6"] : [];
  return {
    name: ASIDE_SET,
    type: "nf_proto",
    interval: false,
    elements,
    ends: new Map(elements.map((one) => [one, until])),
  };
}

function rangeSet(name: string, type: string, elements: readonly string[]): NftSet {
  return { name, type, interval: true, elements: [...new Set(elements)].sort() };
}

function renderSet(set: NftSet, now: number): string {
  const lines = [`set ${set.name} {`, `type ${set.type}`];
  if (set.ends !== undefined) lines.push(set.interval ? "flags interval,timeout" : "flags timeout");
  else if (set.interval) lines.push("flags interval", "auto-merge");
  if (set.dynamic !== undefined) {
    lines.push(`size ${set.dynamic.size}`, "flags dynamic,timeout", `timeout ${set.dynamic.milliseconds}ms`);
  }
  const elements = set.ends === undefined ? set.elements : timed(set, now);
  if (elements.length > 0) {
    lines.push("elements = {");
    for (let at = 0; at < elements.length; at += WIDTH) {
      const end = at + WIDTH >= elements.length ? "" : ",";
      lines.push(`${elements.slice(at, at + WIDTH).join(", ")}${end}`);
    }
    lines.push("}");
  }
  lines.push("}");
  return lines.join("\n");
}
