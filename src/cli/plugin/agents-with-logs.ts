import { UsageError } from "../failure.ts";
import { type AgentPod, agentPods } from "./agent-pods.ts";
import type { LiveCluster } from "./live-cluster.ts";

/** Agents that write their flows where they can be read from here. @throws UsageError where none does */
export async function agentsWithLogs(
  cluster: LiveCluster,
  node: string | null,
  warn: (text: string) => void,
): Promise<AgentPod[]> {
  const agents = await agentPods(cluster, node);
  const where = node === null ? "" : ` on node \`${node}\``;
  if (agents.length === 0) {
    throw new UsageError(
      `no agent runs${where} in namespace \`${cluster.sallyport}\`: is Sallyport elsewhere (\`--sallyport-namespace\`)?`,
    );
  }
  const readable = agents.filter(({ flows }) => flows === "-");
  const [other] = agents.filter(({ flows }) => flows !== "-");
  if (readable.length > 0) {
    if (other !== undefined)
      warn(`${agents.length - readable.length} agents write no flow records to their log: theirs are missing`);
    return readable;
  }
  throw new UsageError(
    other?.flows === null || other === undefined
      ? "the agents keep no flow log: set `agent.flows` of the chart to `-`"
      : `the agents write flow records to \`${other.flows}\` on their node, not to their log: read them there with \`sallyport flows\`, or set \`agent.flows\` of the chart to \`-\``,
  );
}
