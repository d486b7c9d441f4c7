import { destinationFromUrl } from "../decide/destination.ts";
import { type Policy, policyRef } from "../model/policy.ts";
import { formatAddress } from "../net/address.ts";
import { comparePolicies } from "../program/order.ts";
import { selects } from "../program/select.ts";
import type { ExplainDocument } from "./explain-document.ts";
import { explainText } from "./explain-text.ts";
import { judge } from "./judge.ts";
import { type Format, printAs } from "./output.ts";
import { loadScene, type Scene } from "./scene.ts";

interface Options {
  readonly policies: readonly string[];
  readonly workloads: string;
  readonly from: string;
  readonly to: string;
  readonly ip?: string;
  readonly config?: string;
  readonly output: Format;
}

/** Prints the decision and its trace. The exit status does not depend on the decision. */
export async function explain(options: Options): Promise<void> {
  const scene = loadScene({
    policies: options.policies,
    workloads: options.workloads,
    config: options.config ?? null,
  });
  const document = explainDocument(scene, options.from, options.to, options.ip ?? null);
  await printAs(options.output, document, () => explainText(document));
}

/** What `explain -o json` prints. @throws UsageError no such pod, or no such destination */
export function explainDocument(scene: Scene, from: string, to: string, ip: string | null): ExplainDocument {
  const { workload, decision, steps, audit } = judge(scene, from, to, ip);
  const destination = destinationFromUrl(to, ip === null ? {} : { ip });
  const last = steps.at(-1);
  return {
    ...decision,
    decidedAt: steps.find((step) => step.decision !== null)?.stage ?? "",
    summary: last?.summary ?? "",
    from,
    to,
    ip,
    name: destination.kind === "problem" ? null : destination.name,
    workload: {
      namespace: workload.namespace,
      name: workload.name,
      serviceAccount: workload.serviceAccount,
      labels: workload.labels,
      addresses: workload.addresses.map(formatAddress),
      isolated: scene.program.isolated(scene.program.classOf(workload.id)),
    },
    policies: scene.policies
      .filter((policy) => selects(policy, workload, scene.config.systemNamespaces))
      .sort(comparePolicies)
      .map(describePolicy),
    steps,
    audit: audit === null ? null : { ...audit.decision, steps: audit.steps },
  };
}

/** A policy among those that select a pod. */
export function describePolicy(policy: Policy): ExplainDocument["policies"][number] {
  const { tier, priority, mode } = policy;
  // Each isolates by itself, beside Sallyport's own default deny.
  const defaultDeny = policy.defaultDeny || tier === "NetworkPolicy";
  return { policy: policyRef(policy), tier, priority, mode, defaultDeny };
}
