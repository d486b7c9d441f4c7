import { fields, generationOf, type KubeObject } from "../../kube/object.ts";
import type { AgentConfig } from "../../model/config.ts";
import { type Cidr, formatCidr, parseCidr } from "../../net/cidr.ts";
import { PRIVATE_RANGES, sortByOwner } from "../../net/own-ranges.ts";
import { readClusterConfig } from "../../policy/cluster-reading.ts";
import { wholeConfig } from "../../policy/convert.ts";
import type { Found } from "./discovery.ts";
import type { Refused } from "./documents.ts";

/** The one object of its kind that is read. */
export const CONFIG_NAME = "default";

export interface Configured {
  /** Null: nothing has ever been said that an agent could run with. */
  readonly config: AgentConfig | null;
  /** Why what is said now is not in force, one line; null: it is. */
  readonly problem: string | null;
}

/**
 * The configuration that is in force: the AgentConfig `default`, and what it leaves out as it was found in the cluster. What
 * cannot be read changes nothing.
 */
export class ClusterConfig {
  #known: AgentConfig | null = null;
  #source = "";
  #problem: string | null = null;
  #refused: Refused | null = null;
  #publicRanges: readonly string[] = [];

  /** The AgentConfig object itself, where it cannot be used. */
  get refused(): Refused | null {
    return this.#refused;
  }

  /** Ranges that Nodes say are their pods', and that are not inside: public, and listed by nobody. */
  get publicRanges(): readonly string[] {
    return this.#publicRanges;
  }

  /** `object`: the AgentConfig; undefined: there is none. The config is the same object for as long as nothing changes. */
  read(object: KubeObject | undefined, found: Found): Configured {
    const said = fields(object?.value["spec"]);
    const { resolvers, podCIDRs, internalEndpoints } = found;
    const { inside, publicRanges } = insideOf(found, said);
    // Where interfaces are named the Node's ranges are not its pods': some CNIs give addresses in them to pods of other nodes.
    const pods = byInterface(said) ? {} : { podCIDRs };
    const spec = { resolvers, internalEndpoints, clusterCIDRs: inside, ...pods, ...said };
    this.#publicRanges = "clusterCIDRs" in said ? [] : publicRanges;
    const source = JSON.stringify(spec);
    if (source !== this.#source) {
      this.#source = source;
      this.#read(object, spec);
    }
    return { config: this.#known, problem: this.#problem };
  }

  #read(object: KubeObject | undefined, spec: Readonly<Record<string, unknown>>): void {
    const { value, flaw } = readClusterConfig({ spec });
    this.#refused = null;
    const missing = whatIsMissing(spec);
    const config = value === null || missing !== null ? null : wholeConfig(value);
    if (config !== null) this.#known = config;
    this.#problem = missing ?? flaw?.message ?? null;
    if (object === undefined || this.#problem === null) return;
    this.#refused = {
      kind: "AgentConfig",
      key: object.key,
      uid: object.uid,
      generation: generationOf(object),
      reason: flaw?.reason ?? "Invalid",
      problem: this.#problem,
      instead: config !== null ? "strictest" : this.#known === null ? "nothing" : "last-good",
    };
  }
}

export interface Inside {
  /** `clusterCIDRs` of who says nothing of them. */
  readonly inside: readonly string[];
  readonly publicRanges: readonly string[];
}

/**
 * What is inside, of all that was found. A kubelet may say which range is its node's where nobody else does, so what it says makes only addresses
 * inside that nobody on the Internet has, and those that the AgentConfig lists as the cluster's own (`publicPodCIDRs`).
 */
export function insideOf(
  { podRanges, serviceCIDRs }: Found,
  { publicPodCIDRs }: Readonly<Record<string, unknown>>,
): Inside {
  const listed = Array.isArray(publicPodCIDRs) ? publicPodCIDRs : [];
  const { own, others } = sortByOwner(rangesOf(podRanges), [...PRIVATE_RANGES, ...rangesOf(listed)]);
  return { inside: [...new Set([...own.map(formatCidr), ...serviceCIDRs])], publicRanges: others.map(formatCidr) };
}

function rangesOf(texts: readonly unknown[]): Cidr[] {
  return texts.flatMap((text) => {
    const read = typeof text === "string" ? parseCidr(text) : null;
    return read?.ok === true ? [read.cidr] : [];
  });
}

function whatIsMissing(spec: Readonly<Record<string, unknown>>): string | null {
  const missing = [
    ["resolvers", "no DNS Service with the label `k8s-app=kube-dns` in `kube-system`"],
    ["podCIDRs", "the Node has no `spec.podCIDRs`"],
  ] as const;
  for (const [field, why] of missing) {
    const value = spec[field];
    if (Array.isArray(value) && value.length === 0) return `${why}: set \`${field}\` in AgentConfig \`${CONFIG_NAME}\``;
  }
  return null;
}

/** The pods of the node are known by their interfaces, and their ranges need not be. */
function byInterface({ podInterfaces }: Readonly<Record<string, unknown>>): boolean {
  return Array.isArray(podInterfaces) && podInterfaces.length > 0;
}
