import { generationOf } from "../../kube/object.ts";
import type { Workload } from "../../model/workload.ts";
import { selects } from "../../program/select.ts";
import type { Bypass } from "../bypass/bypass.ts";
import type { NotEnforcedPod } from "../coverage/report.ts";
import { type RuntimeReport, runtimeCondition } from "../nri/report.ts";
import type { Denial, ToldDenials } from "./denials.ts";
import { INSTEAD, type ListedObject, type Refused } from "./documents.ts";
import { type SourceState, sourcesCondition } from "./standard.ts";

/** `status` of the EgressNodeStatus that an agent writes: small, and only of what concerns its node. */
export interface NodeStatus {
  readonly agentVersion: string;
  readonly ready: boolean;
  readonly bootID: string;
  readonly bypass: readonly NodeBypass[];
  readonly conditions: readonly NodeCondition[];
  readonly policies: readonly NodePolicy[];
  readonly policiesLeftOut: number;
  readonly notEnforced: readonly NotEnforced[];
  readonly notEnforcedLeftOut: number;
  readonly notEnforcedPods: number;
  readonly denials: readonly Denial[];
  readonly denialsLeftOut: number;
}

export interface NodeCondition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export interface NodePolicy {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  /** What is in force is this generation, or stands in for it. */
  readonly generation: number;
  readonly programmed: boolean;
  readonly reason?: string;
  readonly message?: string;
  readonly selectedPods: number;
}

export interface NotEnforced {
  readonly namespace: string;
  readonly pod: string;
  readonly reason: string;
  readonly message: string;
}

export interface NodeStatusInput {
  readonly version: string;
  /** Why enforcement is not complete; null: it is. */
  readonly notReady: string | null;
  /** Sallyport goes, and its rules with it as soon as the agent ends. */
  readonly uninstalling: boolean;
  /** Of the machine. */
  readonly bootID: string;
  /** What is in force of them. */
  readonly bypasses: readonly Bypass[];
  /** Why the configuration is not the one that is written; null: it is. */
  readonly config: Refused | null;
  /** The last change could not be applied: of no object is it known that it is in force. */
  readonly unapplied: string | null;
  /** What Nodes say is their pods', and is not inside. */
  readonly publicRanges: readonly string[];
  /** Of the standard policies that the configuration lists. */
  readonly sources: readonly SourceState[];
  /** Null: the container runtime is not asked. */
  readonly runtime: RuntimeReport | null;
  readonly listing: readonly ListedObject[];
  readonly workloads: readonly Workload[];
  readonly systemNamespaces: readonly string[];
  /** What matters most comes first. */
  readonly notEnforced: readonly NotEnforcedPod[];
  readonly denials: ToldDenials;
}

type NodeBypass = Pick<Bypass, "id" | "scope" | "reason" | "by" | "since" | "until"> & { readonly namespace?: string };

/** Reason of `Ready`, and how an agent says that it knows. */
export const UNINSTALLING = "Uninstalling";

/** As the schema of the kind bounds them. */
const MOST_POLICIES = 2_000;
const MOST_PODS = 256;
const MOST_RANGES = 8;
const LONGEST_MESSAGE = 1_000;

export function nodeStatus(input: NodeStatusInput): NodeStatus {
  const { version, listing, workloads, systemNamespaces, config, notEnforced, uninstalling } = input;
  const notReady = uninstalling ? "Sallyport is being uninstalled: its rules go when the agent ends" : input.notReady;
  const byNamespace = Map.groupBy(workloads, ({ namespace }) => namespace);
  const policies = listing.flatMap((one) => {
    const { policy } = one;
    const pods = policy?.namespace == null ? workloads : (byNamespace.get(policy.namespace) ?? []);
    const selected = policy === null ? [] : pods.filter((pod) => selects(policy, pod, systemNamespaces));
    if (selected.length === 0 && one.refused === null) return [];
    const { key, uid } = one.object;
    const about = { kind: one.kind, key, uid, generation: generationOf(one.object) };
    const status = policyStatus(about, one.refused, input.unapplied, selected.length);
    return [status.programmed && one.inside.length > 0 ? { ...status, ...partly(one.inside) } : status];
  });
  if (config !== null) policies.push(policyStatus(config, config, null, 0));
  policies.sort((a, b) => Number(a.programmed) - Number(b.programmed) || order(keyOf(a), keyOf(b)));
  return {
    agentVersion: version,
    ready: notReady === null,
    bootID: input.bootID,
    bypass: input.bypasses.map(({ id, scope, namespace, reason, by, since, until }) => {
      return { id, scope, ...(namespace === null ? {} : { namespace }), reason, by, since, until };
    }),
    conditions: [
      {
        type: "Ready",
        status: notReady === null ? "True" : "False",
        reason: notReady === null ? "Enforcing" : uninstalling ? UNINSTALLING : "NotEnforcing",
        message: (notReady ?? "everything is enforced").slice(0, LONGEST_MESSAGE),
      },
      ...bypassed(input.bypasses),
      ...leftOutside(input.publicRanges),
      ...[...sourcesCondition(input.sources), ...runtimeCondition(input.runtime)].map((condition) => ({
        ...condition,
        message: condition.message.slice(0, LONGEST_MESSAGE),
      })),
    ],
    policies: policies.slice(0, MOST_POLICIES),
    policiesLeftOut: Math.max(0, policies.length - MOST_POLICIES),
    notEnforced: notEnforced.slice(0, MOST_PODS).map(({ namespace, pod, reason, message }) => ({
      namespace,
      pod,
      reason,
      message: message.slice(0, LONGEST_MESSAGE),
    })),
    notEnforcedLeftOut: Math.max(0, notEnforced.length - MOST_PODS),
    notEnforcedPods: notEnforced.length,
    denials: input.denials.denials,
    denialsLeftOut: input.denials.leftOut,
  };
}

/** Absent while nothing is set aside. */
function bypassed(bypasses: readonly Bypass[]): NodeCondition[] {
  if (bypasses.length === 0) return [];
  const words = bypasses.map(
    ({ scope, namespace, reason, until }) => `${namespace ?? scope} until ${until}: ${reason}`,
  );
  const message = words.join("; ").slice(0, LONGEST_MESSAGE);
  return [{ type: "Bypassed", status: "True", reason: "BypassInForce", message }];
}

/** What is said of them, one line. */
export function publicRangesText(ranges: readonly string[]): string {
  const more = ranges.length > MOST_RANGES ? ` and ${ranges.length - MOST_RANGES} more` : "";
  const named = `${ranges.slice(0, MOST_RANGES).join(", ")}${more}`;
  return `Nodes say that ${named} are their pods': public addresses are not inside unless \`publicPodCIDRs\` of AgentConfig lists them`;
}

/** Absent while there are none. */
function leftOutside(ranges: readonly string[]): NodeCondition[] {
  if (ranges.length === 0) return [];
  const message = publicRangesText(ranges).slice(0, LONGEST_MESSAGE);
  return [{ type: "PodRangesInside", status: "False", reason: "PublicAddresses", message }];
}

function policyStatus(
  { kind, key, uid, generation }: Pick<Refused, "kind" | "key" | "uid" | "generation">,
  refused: Refused | null,
  unapplied: string | null,
  selectedPods: number,
): NodePolicy {
  const slash = key.indexOf("/");
  const why =
    refused !== null
      ? { reason: refused.reason, message: `${INSTEAD[refused.instead]}: ${refused.problem}`.slice(0, LONGEST_MESSAGE) }
      : unapplied !== null
        ? { reason: "NotApplied", message: unapplied.slice(0, LONGEST_MESSAGE) }
        : {};
  return {
    kind,
    ...(slash < 0 ? {} : { namespace: key.slice(0, slash) }),
    name: key.slice(slash + 1),
    uid,
    generation,
    programmed: refused === null && unapplied === null,
    ...why,
    selectedPods,
  };
}

const MOST_RULES = 16;

function partly(rules: readonly string[]): Pick<NodePolicy, "reason" | "message"> {
  const more = rules.length > MOST_RULES ? ` and ${rules.length - MOST_RULES} more` : "";
  const named = rules.slice(0, MOST_RULES).join(", ") + more;
  const message = `peers inside the cluster are not decided here, in ${named}`.slice(0, LONGEST_MESSAGE);
  return { reason: "PartiallyEnforced", message };
}

function keyOf({ kind, namespace = "", name }: NodePolicy): string {
  return `${kind}/${namespace}/${name}`;
}

/** The same on every machine, whatever its locale. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
