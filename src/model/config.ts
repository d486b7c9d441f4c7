import type { Address } from "../net/address.ts";
import type { Cidr } from "../net/cidr.ts";
import type { StandardKind } from "./policy.ts";

/** `AgentConfig.spec`, with its defaults filled in. */
export interface AgentConfig {
  /** Trusted DNS resolvers, as pods address them (before Service translation) or after it. */
  readonly resolvers: readonly Address[];
  /** Where the agent itself asks; default: `resolvers`. */
  readonly agentResolvers: readonly Address[];
  /** Inside ranges: pods and services of the whole cluster. Traffic to them is not egress. */
  readonly clusterCIDRs: readonly Cidr[];
  /** Ranges of this node's own pods: every source in them is a workload, known or not yet known. */
  readonly podCIDRs: readonly Cidr[];
  /** Names of interfaces of which each leads to one pod of this node; a `*` at the end stands for any end. */
  readonly podInterfaces: readonly string[];
  /** Node and API server addresses that count as inside, by protocol and port. */
  readonly internalEndpoints: readonly InternalEndpoint[];
  /** Canonical DNS name, for example `cluster.local`. */
  readonly clusterDomain: string;
  readonly systemNamespaces: readonly string[];
  /** Standard policies that are read beside Sallyport's own. */
  readonly sources: readonly StandardKind[];
  readonly failMode: "Closed" | "Open";
  readonly existingFlows: "Adopt" | "End";
  readonly dnsDenial: "NXDomain" | "Refused";
  /** Bits of packet mark and conntrack mark that are Sallyport's: contiguous, 6 bits. */
  readonly markMask: number;
  /** First of the four NFQUEUE numbers used: +0 isolated or unknown, +1 observed; +2, +3 the same for an agent that takes over. */
  readonly queueNumber: number;
  readonly limits: Limits;
}

/** What differs from node to node, or can be found in a cluster. */
type Found = "resolvers" | "agentResolvers" | "clusterCIDRs" | "podCIDRs" | "internalEndpoints";

/** What the AgentConfig of a cluster says. Null: it leaves the agent to find out. */
export type ClusterAgentConfig = Omit<AgentConfig, Found> & { readonly [F in Found]: AgentConfig[F] | null };

export interface InternalEndpoint {
  readonly address: Address;
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
}

/** Bounds, per workload unless said otherwise. Times in milliseconds. */
export interface Limits {
  readonly lookingFlows: number;
  readonly heldPackets: number;
  readonly reassemblyBytes: number;
  readonly bindings: number;
  readonly pendingQuestions: number;
  readonly resolutions: number;
  /** How long an unknown source inside the pod ranges is held. */
  readonly unknownSourceHold: number;
  /** Facts end this long after the first payload byte. */
  readonly factsTimeout: number;
}
