import type { Link, Route } from "../../kernel/routing.ts";
import { type Address, formatAddress } from "../../net/address.ts";
import { type Cidr, cidrContains } from "../../net/cidr.ts";
import type { RouteText } from "../pod-interfaces.ts";

/** What is asked of the kernel; `Routing` answers. */
export interface Ways {
  routeTo(address: Address): Route;
  link(index: number): Link | null;
  ports(bridge: number): readonly Link[];
}

/** Answers as the kernel did the first time, for the length of one look at all pods. Of interfaces only: each pod has its own route. */
export class CachedWays implements Ways {
  readonly #ways: Ways;
  readonly #links = new Map<number, Link | null>();
  readonly #ports = new Map<number, readonly Link[]>();

  constructor(ways: Ways) {
    this.#ways = ways;
  }

  routeTo(address: Address): Route {
    return this.#ways.routeTo(address);
  }

  link(index: number): Link | null {
    return once(this.#links, index, () => this.#ways.link(index));
  }

  ports(bridge: number): readonly Link[] {
    return once(this.#ports, bridge, () => this.#ways.ports(bridge));
  }
}

function once<T>(known: Map<number, T>, index: number, ask: () => T): T {
  if (known.has(index)) return known.get(index) as T;
  const value = ask();
  known.set(index, value);
  return value;
}

/** Interfaces behind which there is a pod or a switch of pods, whose packets the node forwards. All others lead to other machines. */
const POD_KINDS: ReadonlySet<string> = new Set(["veth", "netkit", "bridge", "openvswitch", "tun"]);
/** Ports that join a bridge to a network of other machines, at the side of the node's IP stack. Hardware has no kind. */
const OUTWARD_KINDS: ReadonlySet<string> = new Set(["", "bond", "team", "vlan", "macvlan", "ipoib"]);

/**
 * Why packets of the pod that has this address do not cross the node's forward hook; null: they do, as far as its routes tell. The
 * node forwards for a pod that it reaches over a link of its own. An address that it reaches as it reaches other machines belongs to a pod
 * that sits beside the node on that network (macvlan, ipvlan, SR-IOV, a bridge with the network's port in it).
 *
 * `outward`: names of the interfaces that lead to other machines whatever kind they are of.
 */
export function whyBypassed(address: Address, ways: Ways, outward: ReadonlySet<string>): string | null {
  const text = formatAddress(address);
  const { kind, link: index, gateway } = ways.routeTo(address);
  if (kind === "local") return `\`${text}\` is an address of the node itself`;
  const link = kind === "none" ? null : ways.link(index);
  if (link === null) return `no route of the node leads to \`${text}\``;
  const by = `the node reaches \`${text}\` by \`${link.name}\``;
  if (outward.has(link.name)) return `${by}, as it reaches other machines`;
  if (!POD_KINDS.has(link.kind)) return `${by}, which is no link to a pod (${link.kind || "hardware"})`;
  if (gateway !== null && ways.routeTo(gateway).kind !== "local")
    return `${by} and the gateway \`${formatAddress(gateway)}\`, which is another machine`;
  if (link.kind !== "bridge") return null;
  const port = ways.ports(link.index).find(({ name, kind }) => outward.has(name) || OUTWARD_KINDS.has(kind));
  return port === undefined ? null : `${by}, a bridge whose port \`${port.name}\` leads to other machines`;
}

/** What makes the rules hold a packet of a pod that is not known yet. */
export interface StartRanges {
  readonly podCIDRs: readonly Cidr[];
  readonly podInterfaces: readonly string[];
}

/** Whether the first packets of a pod with this address would have been held before it was known. */
export function heldAtStart(address: Address, ways: Ways, { podCIDRs, podInterfaces }: StartRanges): boolean {
  if (podCIDRs.some((range) => cidrContains(range, address))) return true;
  const name = podInterfaces.length === 0 ? undefined : ways.link(ways.routeTo(address).link)?.name;
  return name !== undefined && podInterfaces.some((pattern) => matches(pattern, name));
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** `networkInterfaces()` of node:os, as far as it is needed. */
export type Interfaces = Readonly<Record<string, readonly { readonly address: string }[] | undefined>>;

/** Names of the interfaces of the default routes, and of those that bear an address by which other machines know this node. */
export function outwardInterfaces(
  routes: RouteText,
  interfaces: Interfaces,
  nodeAddresses: readonly Address[],
): ReadonlySet<string> {
  const outward = new Set<string>();
  for (const line of routes.ipv4.split("\n").slice(1)) {
    const [device = "", destination, , , , , , mask] = line.trim().split(/\s+/);
    if (destination === "00000000" && mask === "00000000") outward.add(device);
  }
  for (const line of routes.ipv6.split("\n")) {
    const fields = line.trim().split(/\s+/);
    const [destination = "", length] = fields;
    if (length === "00" && /^0{32}$/.test(destination)) outward.add(fields.at(-1) ?? "");
  }
  const known = new Set(nodeAddresses.map(formatAddress));
  for (const [name, entries] of Object.entries(interfaces)) {
    if (entries?.some(({ address }) => known.has(address))) outward.add(name);
  }
  // The kernel keeps an unreachable default route of IPv6 here, and addresses of the node that are on no wire.
  outward.delete("lo");
  return outward;
}
