import type { Policy } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";
import type { Address } from "../net/address.ts";
import { positionsByNamespace } from "./by-namespace.ts";
import { Closings } from "./closing.ts";
import { CLASS_FLAG, FIRST_OWN_TIER, TIERS } from "./layout.ts";
import { mayAskResolvers } from "./questions.ts";
import { selects } from "./select.ts";

const NOBODY: ReadonlySet<number> = new Set();

/** Workloads that the same policies select, and those policies in the order they are walked. */
export interface WorkloadClass {
  readonly policies: readonly Policy[];
  readonly flags: number;
}

export interface Classes {
  readonly classes: readonly WorkloadClass[];
  /** By position of the workload. */
  readonly classOf: readonly number[];
}

export interface ClassSettings {
  readonly systemNamespaces: readonly string[];
  /** Trusted ones. */
  readonly resolvers: readonly Address[];
}

/**
 * `policies` in the order they are walked. Replicas share one answer: a label set is judged once. For a workload whose id is in `bypassed`
 * every policy counts as one in Audit mode.
 */
export function classify(
  policies: readonly Policy[],
  workloads: readonly Workload[],
  { systemNamespaces, resolvers }: ClassSettings,
  bypassed: ReadonlySet<number> = NOBODY,
): Classes {
  const candidates = positionsByNamespace(policies, new Set(workloads.map(({ namespace }) => namespace)));
  const classes: WorkloadClass[] = [];
  const byPolicies = new Map<string, number>();
  const byLabels = new Map<string, number>();
  const closings = new Closings();
  const audited = new Map<Policy, Policy>();
  const classOf = workloads.map((workload) => {
    const aside = bypassed.has(workload.id);
    const labels = `${aside} ${labelKey(workload)}`;
    const known = byLabels.get(labels);
    if (known !== undefined) return known;
    const selected = candidates
      .get(workload.namespace)!
      .filter((at) => selects(policies[at]!, workload, systemNamespaces));
    const key = `${aside} ${selected.join()}`;
    const cls = byPolicies.get(key) ?? classes.length;
    if (cls === classes.length) {
      const described = describe(closings.close(selected.map((at) => policies[at]!)), resolvers);
      classes.push(aside ? setAside(described, audited) : described);
    }
    byPolicies.set(key, cls);
    byLabels.set(labels, cls);
    return cls;
  });
  return { classes, classOf };
}

/** The same class with every policy in Audit mode. `twins`: those made so far, for a policy is compiled once. */
function setAside({ policies, flags }: WorkloadClass, twins: Map<Policy, Policy>): WorkloadClass {
  if ((flags & CLASS_FLAG.selected) === 0) return { policies, flags };
  const aside = policies.map((policy) => {
    const twin = policy.mode === "Audit" ? policy : (twins.get(policy) ?? inAudit(policy));
    twins.set(policy, twin);
    return twin;
  });
  return { policies: aside, flags: describe(aside, []).flags | CLASS_FLAG.bypassed };
}

/** Not by spreading: a packed policy would lose what its prototype has. */
function inAudit({ kind, name, namespace, tier, priority, defaultDeny, subject, rules }: Policy): Policy {
  return { kind, name, namespace, tier, priority, mode: "Audit", defaultDeny, subject, rules };
}

function labelKey(workload: Workload): string {
  const sorted = (labels: Readonly<Record<string, string>>) =>
    Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    workload.namespace,
    workload.serviceAccount,
    sorted(workload.labels),
    sorted(workload.namespaceLabels),
  ]);
}

function describe(policies: readonly Policy[], resolvers: readonly Address[]): WorkloadClass {
  let flags = mayAskResolvers(policies, resolvers) ? 0 : CLASS_FLAG.mute;
  for (const { mode, defaultDeny, tier } of policies) {
    if (mode === "Enforce" && TIERS.indexOf(tier) < FIRST_OWN_TIER) flags |= CLASS_FLAG.standard;
    flags |= mode === "Audit" ? CLASS_FLAG.audited : CLASS_FLAG.selected;
    if (defaultDeny) flags |= CLASS_FLAG.isolatedByAll;
    if (defaultDeny && mode === "Enforce") flags |= CLASS_FLAG.isolated;
  }
  return { policies, flags };
}
