import { type RunProgram, runProgram } from "../kernel/program.ts";
import type { Workload } from "../model/workload.ts";
import { type Address, parseAddress } from "../net/address.ts";
import { type Cidr, cidrContains, parseCidr } from "../net/cidr.ts";

interface OnLinkRoute {
  readonly range: Cidr;
  readonly device: string;
}

/** One route of `ip -json route show`; only what is read here. */
interface ListedRoute {
  readonly dst?: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: unknown;
  readonly type?: string;
}

/**
 * Names of the interfaces behind which this node's pods are: those that an on-link route of a pod's address leads to.
 * What comes out of them must bear a pod's address. A pod that is reached through a gateway is on another node.
 * Empty where the routes cannot be listed: then only the reverse route of each packet is checked.
 */
export async function podInterfaces(
  workloads: readonly Workload[],
  podCidrs: readonly Cidr[],
  run: RunProgram = runProgram,
): Promise<string[]> {
  const listings = await Promise.all([listRoutes(run, "-4"), listRoutes(run, "-6")]);
  const routes = listings.flat();
  const found = new Set<string>();
  for (const workload of workloads) {
    for (const address of workload.addresses) {
      if (!podCidrs.some((range) => cidrContains(range, address))) continue;
      const device = deviceOf(routes, address);
      if (device !== null) found.add(device);
    }
  }
  return [...found].sort();
}

function deviceOf(routes: readonly OnLinkRoute[], address: Address): string | null {
  let best: OnLinkRoute | null = null;
  for (const route of routes) {
    if (cidrContains(route.range, address) && (best === null || route.range.bits > best.range.bits)) best = route;
  }
  return best?.device ?? null;
}

async function listRoutes(run: RunProgram, family: "-4" | "-6"): Promise<OnLinkRoute[]> {
  const result = await run(["ip", "-json", family, "route", "show"]).catch(() => null);
  if (result?.status !== 0) return [];
  const routes: OnLinkRoute[] = [];
  for (const route of JSON.parse(result.stdout || "[]") as ListedRoute[]) {
    const onLink = route.gateway === undefined && route.via === undefined && (route.type ?? "unicast") === "unicast";
    if (!onLink || route.dst === undefined || route.dst === "default" || route.dev === undefined) continue;
    const range = rangeOf(route.dst);
    if (range !== null) routes.push({ range, device: route.dev });
  }
  return routes;
}

function rangeOf(text: string): Cidr | null {
  if (text.includes("/")) {
    const parsed = parseCidr(text);
    return parsed.ok ? parsed.cidr : null;
  }
  const address = parseAddress(text);
  return address === null ? null : { base: address, bits: 128 };
}
