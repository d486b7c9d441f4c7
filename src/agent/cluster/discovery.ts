import { type Fields, fields, type KubeObject } from "../../kube/object.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import { parseCidr } from "../../net/cidr.ts";
import { rangesOf } from "./ranges.ts";
import type { ResourceName } from "./resources.ts";

type Objects = (name: ResourceName) => Iterable<KubeObject>;

/** What the cluster answers by itself where an AgentConfig says nothing. */
export interface Found {
  /** The DNS Service's addresses and those behind it. */
  readonly resolvers: readonly string[];
  readonly podCIDRs: readonly string[];
  /** The node's pods, and those of other nodes as the controller tells them. Nodes are believed only so far: see `insideOf`. */
  readonly podRanges: readonly string[];
  readonly serviceCIDRs: readonly string[];
  /** The API server as it is behind its Service. */
  readonly internalEndpoints: readonly { readonly address: string; readonly protocol: string; readonly port: number }[];
}

export function discover(objects: Objects): Found {
  const [node] = objects("nodes");
  const spec = fields(node?.value["spec"]);
  const podCIDRs = distinct([...texts(spec["podCIDRs"]), ...texts([spec["podCIDR"]])].filter(isCidr));
  const serviceCIDRs = [...objects("servicecidrs")].flatMap(({ value }) => texts(fields(value["spec"])["cidrs"]));
  const others = [...objects("ranges")].flatMap(({ value }) => rangesOf(value));
  const dnsService = [...objects("services")].flatMap(({ value }) => {
    const { clusterIP, clusterIPs } = fields(value["spec"]);
    return [...texts(clusterIPs), ...texts([clusterIP])];
  });
  const dnsBehind = [...objects("endpointslices")].flatMap(({ value }) => addressesOf(value));
  return {
    resolvers: distinct([...dnsService, ...dnsBehind].filter(isAddress)),
    podCIDRs,
    podRanges: distinct([...podCIDRs, ...others].filter(isCidr)),
    serviceCIDRs: distinct(serviceCIDRs.filter(isCidr)),
    internalEndpoints: [...objects("apiserver")].flatMap(({ value }) => endpointsOf(value)),
  };
}

/** The node's own, as its kubelet says them. No name is ever bound to one. */
export function nodeAddresses(objects: Objects): readonly Address[] {
  const [node] = objects("nodes");
  const { addresses } = fields(node?.value["status"]);
  return list(addresses).flatMap((entry) => {
    const { type, address } = fields(entry);
    if (type === "Hostname" || typeof address !== "string") return [];
    return parseAddress(address) ?? [];
  });
}

function endpointsOf(slice: Fields): Found["internalEndpoints"] {
  return list(slice["ports"]).flatMap((entry) => {
    const { port, protocol = "TCP" } = fields(entry);
    if (typeof port !== "number" || typeof protocol !== "string") return [];
    return addressesOf(slice)
      .filter(isAddress)
      .map((address) => ({ address, protocol, port }));
  });
}

function addressesOf(slice: Fields): string[] {
  return list(slice["endpoints"]).flatMap((endpoint) => texts(fields(endpoint)["addresses"]));
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function texts(value: unknown): string[] {
  return list(value).filter((one) => typeof one === "string" && one !== "") as string[];
}

/** A headless Service has the address `None`. */
function isAddress(text: string): boolean {
  return parseAddress(text) !== null;
}

function isCidr(text: string): boolean {
  return parseCidr(text).ok;
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)];
}
