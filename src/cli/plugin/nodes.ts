import { GROUP } from "../../agent/cluster/resources.ts";
import { METADATA_ONLY } from "../../kube/listing.ts";
import { type Fields, fields } from "../../kube/object.ts";
import type { NodeStatusText } from "../../policy/status-schema.ts";
import { type AgentPod, tryAgentPods } from "./agent-pods.ts";
import { type Bypass, bypassesOf } from "./bypass.ts";
import { type NodeDenials, nodeDenials } from "./denials.ts";
import type { LiveCluster, Unseen } from "./live-cluster.ts";

/** A node, and whether it enforces. */
export interface NodeSummary {
  readonly node: string;
  /** Its agent says that it enforces, and its pod, where it may be looked at, is ready. */
  readonly ready: boolean;
  /** Why not, one line; null where it is ready. */
  readonly reason: string | null;
  readonly agentVersion: string | null;
  /** When the agent last had something new to say. */
  readonly observedAt: string | null;
  /** Pods that policies do not hold. */
  readonly notEnforcedPods: number;
  /** The first of them; `notEnforcedPods` counts all. */
  readonly notEnforced: NonNullable<NodeStatusText["notEnforced"]>;
  /** Where enforcement is set aside for a while. */
  readonly bypasses: readonly Bypass[];
  /** What its pods were denied lately. */
  readonly denials: NodeDenials;
  /** What its agent wants looked at, though it enforces. One line each. */
  readonly remarks: readonly string[];
}

const NODES = "/api/v1/nodes";

/** All nodes, in order of name. @throws UsageError where the agents' reports may not be read */
export async function readNodes(cluster: LiveCluster, unseen: (one: Unseen) => void): Promise<NodeSummary[]> {
  const [reports, names, agents] = await Promise.all([
    cluster.list({ path: `${GROUP}/egressnodestatuses` }, readReport),
    tryNodeNames(cluster, unseen),
    tryAgentPods(cluster, null, unseen),
  ]);
  const byNode = new Map(reports.map((report) => [report.node, report]));
  const agentsOf = agents === null ? null : Map.groupBy(agents, ({ node }) => node);
  // A report outlives its node for a moment: where nodes may be looked at, they say which there are.
  const all = names ?? [...new Set([...byNode.keys(), ...(agentsOf?.keys() ?? [])])];
  return all.toSorted(order).map((node) => {
    const { status, denials = nodeDenials({}) } = byNode.get(node) ?? {};
    const reason = whyNotReady(status, agentsOf === null ? null : (agentsOf.get(node) ?? []));
    return {
      node,
      ready: reason === null,
      reason,
      agentVersion: status?.agentVersion ?? null,
      observedAt: status?.observedAt ?? null,
      notEnforcedPods: status?.notEnforcedPods ?? 0,
      notEnforced: status?.notEnforced ?? [],
      bypasses: bypassesOf(status ?? null),
      denials,
      remarks: remarksOf(status),
    };
  });
}

/** Why a node may not be relied on; null: it enforces. `agents`: null where they may not be looked at. */
export function whyNotReady(status: NodeStatusText | undefined, agents: readonly AgentPod[] | null): string | null {
  if (status === undefined) return agents?.length === 0 ? "no agent" : "its agent has not reported yet";
  if (status.ready !== true) {
    const ready = status.conditions?.find(({ type }) => type === "Ready");
    return `the agent is not ready: ${ready?.message ?? "it does not say why"}`;
  }
  // What an agent last said stays said when it is gone.
  if (agents === null || agents.some(({ ready }) => ready)) return null;
  return agents.length === 0
    ? "no agent runs there now: what it held stays held, what is new fares as `failMode` says"
    : "the agent does not answer its probe";
}

/** Conditions of a node that say what is amiss, beside those that are told otherwise. */
const REMARKS: ReadonlySet<string> = new Set(["PodRangesInside", "SourcesRead", "RuntimeConnected"]);

function remarksOf(status: NodeStatusText | undefined): string[] {
  const amiss = (status?.conditions ?? []).filter(({ type, status }) => REMARKS.has(type) && status === "False");
  return amiss.map(({ message }) => message);
}

interface Report {
  readonly node: string;
  readonly status: NodeStatusText;
  readonly denials: NodeDenials;
}

/** The policies of a report are as many as a node's pods need, and not looked at here; denials are summed up. */
function readReport({ metadata, status }: Fields): Report {
  const { policies: _, denials: __, ...rest } = fields(status);
  const denials = nodeDenials(fields(status) as NodeStatusText);
  return { node: String(fields(metadata)["name"]), status: rest as NodeStatusText, denials };
}

/** Nodes that can have an agent. */
function tryNodeNames(cluster: LiveCluster, unseen: (one: Unseen) => void): Promise<string[] | null> {
  const read = ({ metadata }: Fields): string | null => {
    const { name, labels } = fields(metadata);
    const { "kubernetes.io/os": os = "linux" } = fields(labels);
    return os === "linux" ? String(name) : null;
  };
  return cluster.tryList({ path: NODES }, read, unseen, "nodes without a report", METADATA_ONLY);
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
