import type { ListedObject } from "../../agent/cluster/documents.ts";
import { GROUP } from "../../agent/cluster/resources.ts";
import { fields, generationOf } from "../../kube/object.ts";
import { type Policy, policyRef } from "../../model/policy.ts";
import type { NodeStatusText } from "../../policy/status-schema.ts";
import { type AgentPod, tryAgentPods } from "./agent-pods.ts";
import { bypassesOf, bypassFor, bypassText } from "./bypass.ts";
import type { LiveCluster, Unseen } from "./live-cluster.ts";
import { whyNotReady } from "./nodes.ts";
import type { PodScene } from "./pod-scene.ts";

/** What is known of a node and its agent. */
export interface NodeView {
  readonly node: string | null;
  /** Its EgressNodeStatus; null: there is none. */
  readonly status: NodeStatusText | null;
  /** Null: they may not be looked at. */
  readonly agents: readonly AgentPod[] | null;
  readonly unseen: readonly Unseen[];
}

/** Whether a node holds a policy as it now is written. */
export interface OnNode {
  readonly state: "enforced" | "not-enforced" | "unknown";
  /** In a few words. */
  readonly text: string;
}

/** Whether what the policies say is what a pod meets. */
export interface Enforcement {
  readonly node: string | null;
  readonly state: "enforced" | "not-enforced" | "unknown";
  /** One line each; none: enforced. */
  readonly why: readonly string[];
  readonly agentVersion: string | null;
  /** When the agent last had something new to say. */
  readonly observedAt: string | null;
}

/** @throws UsageError */
export async function readNode(cluster: LiveCluster, node: string | null): Promise<NodeView> {
  if (node === null) return { node, status: null, agents: null, unseen: [] };
  const unseen: Unseen[] = [];
  const [object, agents] = await Promise.all([
    cluster.find(`${GROUP}/egressnodestatuses/${node}`),
    tryAgentPods(cluster, node, (one) => unseen.push(one)),
  ]);
  const status = object === null ? null : (fields(object["status"]) as NodeStatusText);
  return { node, status, agents, unseen };
}

/** What the agent of the node says of one policy. */
export function onNode({ status }: Pick<NodeView, "status">, { object }: ListedObject): OnNode {
  if (status === null) return { state: "not-enforced", text: "no agent has reported" };
  const entry = status.policies?.find(({ uid }) => uid === object.uid);
  if (entry === undefined) {
    const full = (status.policiesLeftOut ?? 0) > 0;
    return full
      ? { state: "unknown", text: "not known: the report has no room for it" }
      : { state: "not-enforced", text: "not reported yet" };
  }
  const generation = generationOf(object);
  if (entry.generation !== generation) {
    return { state: "not-enforced", text: `has generation ${entry.generation} of ${generation}` };
  }
  if (!entry.programmed)
    return { state: "not-enforced", text: [entry.reason, entry.message].filter(Boolean).join(": ") };
  return { state: "enforced", text: entry.message === undefined ? "enforced" : `enforced, but ${entry.message}` };
}

/** Judges by what the node's agent has said; what it has not said is never taken as good. */
export function enforcementOf(scene: PodScene, view: NodeView, selecting: readonly Policy[]): Enforcement {
  const { node, status } = view;
  const no = agentTroubles(view, scene);
  const open: string[] = [];
  for (const policy of status === null ? [] : selecting) {
    const listed = listedOf(scene.listing, policy);
    const { state, text } = onNode(view, listed);
    if (state !== "enforced") (state === "unknown" ? open : no).push(`\`${policyRef(policy)}\`: ${text}`);
  }
  // What is in force may deny more than what was read.
  for (const { what, why } of scene.unread) open.push(`${what} may be in force as well, and was not looked at: ${why}`);
  if (scene.configProblem !== null) open.push(`AgentConfig: ${scene.configProblem}`);
  return {
    node,
    state: no.length > 0 ? "not-enforced" : open.length > 0 ? "unknown" : "enforced",
    why: [...no, ...open],
    agentVersion: status?.agentVersion ?? null,
    observedAt: status?.observedAt ?? null,
  };
}

export function listedOf(listing: readonly ListedObject[], policy: Policy): ListedObject {
  const found = listing.find((one) => one.policy === policy);
  if (found === undefined) throw new Error(`\`${policyRef(policy)}\` was not listed`);
  return found;
}

/** Why nothing that the policies say can be relied on for the pod. */
function agentTroubles({ node, status, agents }: NodeView, { namespace, name }: PodScene): string[] {
  if (node === null) return ["the pod is on no node yet"];
  const reason = whyNotReady(status ?? undefined, agents);
  const troubles = reason === null ? [] : [reason];
  const aside = bypassFor(bypassesOf(status), namespace);
  if (aside !== undefined) troubles.push(bypassText(aside));
  const bare = status?.notEnforced?.find((one) => one.namespace === namespace && one.pod === name);
  if (bare !== undefined)
    troubles.push(`policies do not hold this pod: ${bare.reason}${bare.message ? `, ${bare.message}` : ""}`);
  return troubles;
}
