import type { Policy } from "../model/policy.ts";

/**
 * For each of `namespaces`, the positions of the policies that may select a pod there: those of the cluster, and its own; ascending. Of a
 * cluster's policies few are of namespaces with pods of one node.
 */
export function positionsByNamespace(
  policies: readonly Policy[],
  namespaces: Iterable<string>,
): ReadonlyMap<string, readonly number[]> {
  const own = new Map<string, number[]>();
  for (const namespace of namespaces) own.set(namespace, []);
  const cluster: number[] = [];
  for (const [at, { namespace }] of policies.entries()) {
    if (namespace === null) cluster.push(at);
    else own.get(namespace)?.push(at);
  }
  if (cluster.length > 0) for (const [namespace, found] of own) own.set(namespace, merged(cluster, found));
  return own;
}

function merged(cluster: readonly number[], own: readonly number[]): number[] {
  return [...cluster, ...own].sort((a, b) => a - b);
}
