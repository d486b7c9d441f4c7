import { parseAddress } from "../../net/address.ts";
import { ageOf } from "../duration.ts";
import { explainDocument } from "../explain.ts";
import type { ExplainDocument } from "../explain-document.ts";
import { explainText } from "../explain-text.ts";
import { paint, printable } from "../output.ts";
import { type DenialRow, denialsOf, denialsText } from "./denials.ts";
import { type DestinationOptions, destinationUrl } from "./destination-word.ts";
import { type Enforcement, enforcementOf, readNode } from "./enforcement.ts";
import { type ClusterOptions, LiveCluster, type Unseen } from "./live-cluster.ts";
import { unseenText } from "./live-status-text.ts";
import { type PluginFormat, printPlugin } from "./plugin-output.ts";
import { podName } from "./pod-name.ts";
import { loadPodScene, type PodScene, selectingPolicies } from "./pod-scene.ts";

interface Options extends ClusterOptions, DestinationOptions {
  readonly ip?: string;
  readonly output: PluginFormat;
}

/** What `why -o json` prints: what `explain` says, and whether it is so on the pod's node. */
export interface WhyDocument extends ExplainDocument {
  readonly enforcement: Enforcement;
  /** Of whatever it asked for, the newest first. */
  readonly denials: readonly DenialRow[];
  readonly unseen: readonly Unseen[];
}

/** Says what a pod of the cluster meets that asks for a destination, and whether its node enforces that. */
export async function why(pod: string, destination: string, options: Options): Promise<void> {
  const to = destinationUrl(destination, options);
  const cluster = LiveCluster.open(options);
  try {
    const scene = await loadPodScene(cluster, podName(pod, options.namespace, cluster.namespace));
    const view = await readNode(cluster, scene.node);
    const explained = explainDocument(scene.scene, scene.from, to, options.ip ?? null);
    const enforcement = enforcementOf(scene, view, selectingPolicies(scene));
    const unseen = [...unseenFor(to, options.ip, scene), ...view.unseen];
    const document = { ...explained, enforcement, denials: denialsOf(view.status, scene.uid), unseen };
    await printPlugin(options.output, document, () => whyText(document));
  } finally {
    cluster.close();
  }
}

/** Of a name nothing is known but that it is outside. */
function unseenFor(to: string, ip: string | undefined, { unseen }: PodScene): readonly Unseen[] {
  const host = /^[a-z]+:\/\/(\[[^\]]*\]|[^:/?#]*)/i.exec(to)?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  return ip !== undefined || parseAddress(host) !== null ? unseen : [];
}

function whyText(document: WhyDocument): string {
  const notes = unseenText(document.unseen);
  return `${enforcementText(document.enforcement)}\n${explainText(document)}${denialsText(document.denials)}${notes === "" ? "" : `\n${notes}`}`;
}

/** First, for all that follows is worth as much. */
export function enforcementText({ node, state, why, agentVersion, observedAt }: Enforcement): string {
  const where = node === null ? "no node" : `node \`${node}\``;
  const agent =
    agentVersion === null
      ? ""
      : ` (agent ${agentVersion}${observedAt === null ? "" : `, last news ${ageOf(observedAt)} ago`})`;
  const lines = why.map((line) => `  ${printable(line)}\n`).join("");
  if (state === "enforced")
    return `${paint("allow", "ENFORCED")} on ${printable(`${where}${agent}`)}: what follows is in force.\n`;
  if (state === "unknown")
    return `${paint("warn", "NOT KNOWN")} whether ${printable(`${where}${agent}`)} enforces what follows:\n${lines}`;
  return `${paint("deny", "NOT ENFORCED")} on ${printable(`${where}${agent}`)} as it follows:\n${lines}`;
}
