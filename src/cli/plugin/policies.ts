import type { Policy } from "../../model/policy.ts";
import { comparePolicies } from "../../program/order.ts";
import { describePolicy } from "../explain.ts";
import type { ExplainDocument } from "../explain-document.ts";
import { isolationText } from "../explain-text.ts";
import { findWorkload } from "../judge.ts";
import { paint, printable, table } from "../output.ts";
import { type DenialRow, denialsOf, denialsText } from "./denials.ts";
import { type Enforcement, enforcementOf, listedOf, onNode, readNode } from "./enforcement.ts";
import { type ClusterOptions, LiveCluster, type Unseen } from "./live-cluster.ts";
import { conditionOf } from "./live-documents.ts";
import { type PluginFormat, printPlugin } from "./plugin-output.ts";
import { podName } from "./pod-name.ts";
import { loadPodScene, selectingPolicies } from "./pod-scene.ts";
import { enforcementText } from "./why.ts";

interface Options extends ClusterOptions {
  readonly output: PluginFormat;
}

/** What `policies -o json` prints. */
export interface PoliciesDocument {
  readonly pod: string;
  readonly isolated: boolean;
  /** In the order in which they are asked. */
  readonly policies: readonly PolicyRow[];
  readonly enforcement: Enforcement;
  /** The newest first. */
  readonly denials: readonly DenialRow[];
  readonly unseen: readonly Unseen[];
}

type PolicyRow = ExplainDocument["policies"][number] & {
  readonly rules: number;
  /** What the controller says: `True`, `False`, or null where it has said nothing. */
  readonly accepted: string | null;
  readonly acceptedMessage: string;
  readonly programmed: string | null;
  readonly programmedMessage: string;
  /** What the agent of the pod's node says. */
  readonly onNode: string;
  readonly enforcedOnNode: boolean;
};

/** Lists the policies that select a pod, in the order in which they are asked. */
export async function policies(pod: string, options: Options): Promise<void> {
  const cluster = LiveCluster.open(options);
  try {
    const scene = await loadPodScene(cluster, podName(pod, options.namespace, cluster.namespace));
    const view = await readNode(cluster, scene.node);
    const selecting = selectingPolicies(scene).toSorted(comparePolicies);
    const { program } = scene.scene;
    const document: PoliciesDocument = {
      pod: scene.from,
      isolated: program.isolated(program.classOf(findWorkload(scene.scene, scene.from).id)),
      policies: selecting.map((policy): PolicyRow => rowOf(policy, scene.listing, view)),
      enforcement: enforcementOf(scene, view, selecting),
      denials: denialsOf(view.status, scene.uid),
      unseen: view.unseen,
    };
    await printPlugin(options.output, document, () => policiesText(document, options.output === "wide"));
  } finally {
    cluster.close();
  }
}

function rowOf(policy: Policy, listing: Parameters<typeof listedOf>[0], view: Parameters<typeof onNode>[0]): PolicyRow {
  const listed = listedOf(listing, policy);
  const [accepted, programmed] = [conditionOf(listed, "Accepted"), conditionOf(listed, "Programmed")];
  const { state, text } = onNode(view, listed);
  return {
    ...describePolicy(policy),
    rules: policy.rules.length,
    accepted: accepted?.status ?? null,
    acceptedMessage: accepted?.message ?? "",
    programmed: programmed?.status ?? null,
    programmedMessage: programmed?.message ?? "",
    onNode: text,
    enforcedOnNode: state === "enforced",
  };
}

function policiesText({ pod, isolated, policies, enforcement, denials }: PoliciesDocument, wide: boolean): string {
  const head = enforcementText(enforcement);
  const lately = denialsText(denials);
  if (policies.length === 0)
    return `${head}\nNo policy selects \`${printable(pod)}\`: it may connect to everything.\n${lately}`;
  const heading = [
    "POLICY",
    "TIER",
    "PRIORITY",
    "MODE",
    "DEFAULT DENY",
    "RULES",
    "ACCEPTED",
    "PROGRAMMED",
    "ON ITS NODE",
  ];
  const rows = policies.map((row) => [
    row.policy,
    row.tier,
    String(row.priority),
    row.mode,
    row.defaultDeny ? "yes" : "no",
    String(row.rules),
    condition(row.accepted, row.acceptedMessage, wide),
    // Of all nodes the count says more than the word.
    row.programmed === null ? "-" : row.programmedMessage.split(";")[0] || row.programmed,
    wide ? row.onNode : row.onNode.slice(0, 60),
  ]);
  const text = table([heading, ...rows], (cell, column) => {
    if (column === 6 && cell.startsWith("False")) return paint("deny", cell);
    return column === 8 && !cell.startsWith("enforced") ? paint("warn", cell) : cell;
  });
  return `${head}\n${text}\n${isolationText(isolated, policies)}\n${lately}`;
}

function condition(status: string | null, message: string, wide: boolean): string {
  if (status === null) return "-";
  return wide && message !== "" ? `${status}: ${message}` : status;
}
