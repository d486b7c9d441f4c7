import type { NodeStatusText } from "../../policy/status-schema.ts";

/** Enforcement that somebody has set aside for a while, as an agent reports it. */
export type Bypass = NonNullable<NodeStatusText["bypass"]>[number];

/** Those in force; one that is over ends by itself, told or not. */
export function bypassesOf(status: NodeStatusText | null, now = Date.now()): readonly Bypass[] {
  return (status?.bypass ?? []).filter(({ until }) => !(Date.parse(until) <= now));
}

/** The one that sets aside what holds for the pods of a namespace; undefined: none does. */
export function bypassFor(bypasses: readonly Bypass[], namespace: string): Bypass | undefined {
  return bypasses.find((one) => one.scope !== "Namespace" || one.namespace === namespace);
}

/** In a line. */
export function bypassText({ scope, namespace, reason, by, until }: Bypass): string {
  const whom =
    scope === "Namespace"
      ? `namespace \`${namespace}\``
      : scope === "Node"
        ? "all pods of the node"
        : "everything on the node";
  return `enforcement is set aside for ${whom} until ${until}: ${reason} (${by})`;
}
