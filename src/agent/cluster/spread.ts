import type { NodeStatus } from "./node-status.ts";

/** A node's share of the time over which all of them write what all have to say: 200 writes a second. */
const EACH_NODE_MS = 5;
/** Of what only nodes with pods of one namespace have to say: that is mostly few of them. */
const OWN_SHARE = 0.1;
const LONGEST_MS = 120_000;

/** A status, taken apart by who else may have the same to say. */
export interface Saying {
  /** Nobody: this node, its pods, their denials. */
  readonly own: string;
  /** Nodes with pods of the same namespaces. */
  readonly namespaced: string;
  /** Every node. */
  readonly everywhere: string;
}

export function sayingOf(status: NodeStatus, nodeUid: string | null): Saying {
  const { policies, policiesLeftOut, conditions, ...own } = status;
  const ownConditions = conditions.filter(({ type }) => type === "Ready" || type === "Bypassed");
  const shared = conditions.filter((condition) => !ownConditions.includes(condition));
  return {
    own: JSON.stringify([own, ownConditions, nodeUid]),
    namespaced: JSON.stringify(policies.filter(({ namespace }) => namespace !== undefined)),
    everywhere: JSON.stringify([shared, policiesLeftOut, policies.filter(({ namespace }) => namespace === undefined)]),
  };
}

/**
 * Milliseconds within which a node picks a moment of its own to say what has changed, so that a policy for all pods of a large cluster does not
 * bring the words of thousands of nodes in one second. What others do not have to say waits for nothing.
 *
 * @param nodes of the cluster, about; 0: not known
 */
export function spreadMs(before: Saying, now: Saying, nodes: number): number {
  if (before.own !== now.own) return 0;
  const all = spreadOfAllMs(nodes);
  return before.everywhere !== now.everywhere ? all : all * OWN_SHARE;
}

/** Milliseconds over which all nodes write once. @param nodes of the cluster, about; 0: not known */
export function spreadOfAllMs(nodes: number): number {
  return Math.min(LONGEST_MS, nodes * EACH_NODE_MS);
}
