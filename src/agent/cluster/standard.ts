import { fields, pick } from "../../kube/object.ts";
import type { Reflector, Resource } from "../../kube/reflector.ts";
import type { StandardKind } from "../../model/policy.ts";
import { STANDARD_VERSIONS } from "../../policy/standard/reading.ts";
import type { NodeCondition } from "./node-status.ts";

/** Standard policies, which are watched where the AgentConfig lists their kind. */
export const STANDARD_KIND_OF = {
  networkpolicies: "NetworkPolicy",
  clusternetworkpolicies: "ClusterNetworkPolicy",
} as const satisfies Readonly<Record<string, StandardKind>>;

export type StandardResource = keyof typeof STANDARD_KIND_OF;

export const STANDARD_RESOURCES = Object.keys(STANDARD_KIND_OF) as StandardResource[];

/**
 * Optional: a kind that is not defined, or that the agent may not read, must not keep the node from what can be enforced. The condition
 * `SourcesRead` says so.
 */
export function standardResource(name: StandardResource): Resource & { readonly name: StandardResource } {
  const kind = STANDARD_KIND_OF[name];
  return {
    name,
    path: `/apis/${STANDARD_VERSIONS[kind]}/${name}`,
    trim: ({ metadata, spec }) => {
      // Of what comes to a pod nothing is read.
      const { ingress: _, ...read } = fields(spec);
      return { metadata: pick(metadata, "name", "namespace", "uid", "generation"), spec: read };
    },
    optional: true,
    custom: kind === "ClusterNetworkPolicy",
  };
}

/** What is known of one that is listed. */
export interface SourceState {
  readonly kind: StandardKind;
  /** `missing`: the API server does not know the kind. `refused`: it has never told what there is. `waiting`: it has not yet. */
  readonly state: "read" | "waiting" | "missing" | "refused";
  readonly trouble: string | null;
}

export function sourceState(kind: StandardKind, { absent, synced, trouble }: Reflector): SourceState {
  const state = absent ? (trouble === null ? "missing" : "refused") : synced ? "read" : "waiting";
  return { kind, state, trouble };
}

/** Why what is listed is not enforced on this node, where that is a fault; null: it is. */
export function whyNotRead(sources: readonly SourceState[]): string | null {
  const refused = sources.filter(({ state }) => state === "refused");
  if (refused.length === 0) return null;
  const each = refused.map(({ kind, trouble }) => `${kind} (${trouble})`).join(", ");
  return `\`sources\` lists what the agent may not read: ${each}`;
}

/** None where no standard policies are listed. */
export function sourcesCondition(sources: readonly SourceState[]): NodeCondition[] {
  if (sources.length === 0) return [];
  const type = "SourcesRead";
  const refused = whyNotRead(sources);
  if (refused !== null) return [{ type, status: "False", reason: "NotRead", message: refused }];
  const named = (state: SourceState["state"]) =>
    sources.filter((source) => source.state === state).map(({ kind }) => kind);
  const missing = named("missing");
  if (missing.length > 0) {
    const message = `the API server does not know ${missing.map((kind) => `${kind} (\`${STANDARD_VERSIONS[kind]}\`)`).join(", ")}: install its definition, or take it out of \`sources\``;
    return [{ type, status: "False", reason: "NotInstalled", message }];
  }
  const waiting = named("waiting");
  if (waiting.length > 0) {
    return [{ type, status: "False", reason: "Waiting", message: `not told yet: ${waiting.join(", ")}` }];
  }
  return [{ type, status: "True", reason: "Read", message: named("read").join(", ") }];
}
