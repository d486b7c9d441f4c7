import { type Fields, fields } from "../../kube/object.ts";
import type { LiveCluster, Unseen } from "./live-cluster.ts";

/** The pod of an agent, as the chart makes it. */
export interface AgentPod {
  readonly name: string;
  readonly node: string;
  /** Its readiness probe: the agent answers, and enforces. */
  readonly ready: boolean;
  /** Being deleted: another takes over, or none. */
  readonly leaving: boolean;
  /** `--flows` of its command line; null: it keeps no flow log. */
  readonly flows: string | null;
}

const AGENTS = "app.kubernetes.io/name=sallyport,app.kubernetes.io/component=agent";
const CONTROLLERS = "app.kubernetes.io/name=sallyport,app.kubernetes.io/component=controller";
export const AGENT_CONTAINER = "agent";

/** Agents of one node, or of all. @throws UsageError */
export function agentPods(cluster: LiveCluster, node: string | null): Promise<AgentPod[]> {
  return cluster.list(selectionOf(cluster, node, AGENTS), readAgentPod);
}

/** As `agentPods`; null where they may not be looked at. */
export function tryAgentPods(
  cluster: LiveCluster,
  node: string | null,
  unseen: (one: Unseen) => void,
): Promise<AgentPod[] | null> {
  return cluster.tryList(selectionOf(cluster, node, AGENTS), readAgentPod, unseen, "the agents' pods");
}

/** Controllers, of which one leads. Null where they may not be looked at. */
export function tryControllerPods(cluster: LiveCluster, unseen: (one: Unseen) => void): Promise<AgentPod[] | null> {
  return cluster.tryList(selectionOf(cluster, null, CONTROLLERS), readAgentPod, unseen, "the controllers' pods");
}

function selectionOf({ sallyport }: LiveCluster, node: string | null, labelSelector: string) {
  const path = `/api/v1/namespaces/${sallyport}/pods`;
  return { path, labelSelector, ...(node === null ? {} : { fieldSelector: `spec.nodeName=${node}` }) };
}

function readAgentPod({ metadata, spec, status }: Fields): AgentPod | null {
  const { name, deletionTimestamp } = fields(metadata);
  const { nodeName, containers } = fields(spec);
  const { conditions, phase } = fields(status);
  if (typeof name !== "string" || typeof nodeName !== "string" || phase === "Succeeded" || phase === "Failed")
    return null;
  const ready = listOf(conditions).find(({ type }) => type === "Ready");
  const agent = listOf(containers).find((container) => container["name"] === AGENT_CONTAINER);
  const args = Array.isArray(agent?.["args"]) ? agent["args"].map(String) : [];
  const flows = args.find((word) => word.startsWith("--flows="));
  return {
    name,
    node: nodeName,
    ready: ready?.["status"] === "True",
    leaving: deletionTimestamp !== undefined,
    flows: flows === undefined ? null : flows.slice("--flows=".length),
  };
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fields) : [];
}
