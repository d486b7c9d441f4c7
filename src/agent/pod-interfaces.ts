import { readFileSync } from "node:fs";
import { type Address, addressFromBytes } from "../net/address.ts";
import { type Cidr, cidrContains } from "../net/cidr.ts";

/** The routing tables as the kernel prints them. */
export interface RouteText {
  /** `/proc/net/route` */
  readonly ipv4: string;
  /** `/proc/net/ipv6_route` */
  readonly ipv6: string;
}

const FLAG = { up: 0x1, gateway: 0x2, reject: 0x200, local: 0x8000_0000 } as const;
const LOOPBACK = "lo";

/** Routes of the network namespace of this thread; empty where it has none of a family. */
export function readRoutes(): RouteText {
  return { ipv4: read("/proc/thread-self/net/route"), ipv6: read("/proc/thread-self/net/ipv6_route") };
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/**
 * Names of the interfaces behind which this node's pods are: those of on-link routes into the node's pod ranges, so they are
 * known as soon as a pod is plugged in, before anyone lists it. What comes out of them must bear a pod's address. A range that
 * is reached through a gateway is on another node. Sorted; lines that cannot be read are left out.
 */
export function podInterfaces(podCidrs: readonly Cidr[], routes: RouteText): string[] {
  const found = new Set<string>();
  const take = (base: Address | null, bits: number, flags: number, device: string): void => {
    const onLink = (flags & FLAG.up) !== 0 && (flags & (FLAG.gateway | FLAG.reject | FLAG.local)) === 0;
    if (base === null || !onLink || device === LOOPBACK || found.has(device)) return;
    if (podCidrs.some((range) => range.bits <= bits && cidrContains(range, base))) found.add(device);
  };
  for (const line of routes.ipv4.split("\n").slice(1)) {
    const [device = "", destination = "", , flags = "", , , , mask = ""] = line.trim().split(/\s+/);
    take(hostOrder(destination), 96 + bitsOf(mask), Number.parseInt(flags, 16), device);
  }
  for (const line of routes.ipv6.split("\n")) {
    const fields = line.trim().split(/\s+/);
    const [destination = "", length = ""] = fields;
    const [flags = "", device = ""] = fields.slice(8);
    take(networkOrder(destination), Number.parseInt(length, 16), Number.parseInt(flags, 16), device);
  }
  return [...found].sort();
}

/** Eight hexadecimal digits of a word that was printed in the machine's order (little-endian). */
function hostOrder(text: string): Address | null {
  return /^[0-9A-Fa-f]{8}$/.test(text) ? addressFromBytes(Buffer.from(text, "hex").reverse(), 0, 4) : null;
}

function networkOrder(text: string): Address | null {
  return /^[0-9A-Fa-f]{32}$/.test(text) ? addressFromBytes(Buffer.from(text, "hex"), 0, 16) : null;
}

function bitsOf(mask: string): number {
  let bits = 0;
  for (let word = Number.parseInt(mask, 16) >>> 0; word !== 0; word = (word & (word - 1)) >>> 0) bits++;
  return bits;
}
