import type { LabelRequirement, LabelSelector, Policy, Subject } from "../model/policy.ts";
import type { Workload } from "../model/workload.ts";

/** Kubernetes puts this label on every namespace, and it is always the namespace's name. */
const NAMESPACE_NAME = "kubernetes.io/metadata.name";

/**
 * Whether a policy selects a workload. A policy of a namespace selects there only. A ClusterEgressPolicy whose subject asks for
 * nothing skips the system namespaces: a catch-all must not cut the cluster's own DNS.
 */
export function selects(policy: Policy, workload: Workload, systemNamespaces: readonly string[]): boolean {
  const { subject } = policy;
  if (policy.namespace !== null && policy.namespace !== workload.namespace) return false;
  const skips = policy.kind === "ClusterEgressPolicy" && isEmpty(subject);
  if (skips && systemNamespaces.includes(workload.namespace)) return false;
  if (subject.serviceAccounts !== null && !subject.serviceAccounts.includes(workload.serviceAccount)) return false;
  return (
    holds(subject.podSelector, (key) => own(workload.labels, key)) &&
    holds(subject.namespaceSelector, (key) =>
      key === NAMESPACE_NAME ? workload.namespace : own(workload.namespaceLabels, key),
    )
  );
}

function isEmpty(subject: Subject): boolean {
  const asks = (selector: LabelSelector | null) => selector !== null && selector.requirements.length > 0;
  return subject.serviceAccounts === null && !asks(subject.podSelector) && !asks(subject.namespaceSelector);
}

function holds(selector: LabelSelector | null, label: (key: string) => string | undefined): boolean {
  return selector === null || selector.requirements.every((requirement) => meets(requirement, label(requirement.key)));
}

/** As in Kubernetes, a label that is not there is not in any list of values. */
function meets(requirement: LabelRequirement, value: string | undefined): boolean {
  switch (requirement.operator) {
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "In":
      return value !== undefined && requirement.values.includes(value);
    case "NotIn":
      return value === undefined || !requirement.values.includes(value);
  }
}

function own(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
