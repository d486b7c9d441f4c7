import { CONFIG_NAME } from "../../agent/cluster/config.ts";
import { GROUP } from "../../agent/cluster/resources.ts";
import { METADATA_ONLY } from "../../kube/listing.ts";
import { fields } from "../../kube/object.ts";
import { readClusterConfig } from "../../policy/cluster-reading.ts";
import { readNamespace, readPod } from "../../workloads/pod.ts";
import { paint, printable, table } from "../output.ts";
import { CoverageCounter, type CoverageCounts, type NamespaceCoverage, type UncoveredPod } from "./coverage-count.ts";
import { type ClusterOptions, LiveCluster, type Unseen } from "./live-cluster.ts";
import { liveDocuments } from "./live-documents.ts";
import { unseenText } from "./live-status-text.ts";
import { readNodes } from "./nodes.ts";
import { type PluginFormat, printPlugin } from "./plugin-output.ts";

interface Options extends ClusterOptions {
  readonly output: PluginFormat;
}

/** What `coverage -o json` prints. */
export interface CoverageDocument {
  /** Null: all. */
  readonly namespace: string | null;
  readonly total: CoverageCounts;
  /** Pods that are not held, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly namespaces: readonly NamespaceCoverage[];
  /** The first of those that are not held. */
  readonly uncovered: readonly UncoveredPod[];
  readonly uncoveredLeftOut: number;
  /** Lines on pods that are counted wrongly, or not. */
  readonly problems: readonly string[];
  readonly unseen: readonly Unseen[];
}

const MOST_PROBLEMS = 100;
const SHOWN = 10;

/** Counts the pods of a namespace, or of all, by what holds them. */
export async function coverage(options: Options): Promise<void> {
  const cluster = LiveCluster.open(options);
  try {
    const document = await countPods(cluster, options.allNamespaces === true ? null : cluster.namespace);
    await printPlugin(options.output, document, () => coverageText(document, options.output === "wide"));
  } finally {
    cluster.close();
  }
}

async function countPods(cluster: LiveCluster, namespace: string | null): Promise<CoverageDocument> {
  const unseen: Unseen[] = [];
  const configured = cluster
    .find(`${GROUP}/agentconfigs/${CONFIG_NAME}`)
    .then((config) => readClusterConfig(config).value);
  const sources = configured.then((value) => value?.sources ?? []);
  const [{ policies }, nodes, namespaceLabels, value] = await Promise.all([
    liveDocuments(cluster, namespace, sources, (one) => unseen.push(one)),
    readNodes(cluster, (one) => unseen.push(one)),
    readNamespaces(cluster, namespace),
    configured,
  ]);
  const usual = readClusterConfig(null).value;
  const systemNamespaces = (value ?? usual)?.systemNamespaces ?? [];
  const counter = new CoverageCounter({ policies, systemNamespaces, nodes, namespaceLabels });
  const unnamed = nodes.flatMap(({ node, notEnforced, notEnforcedPods }) => {
    const more = notEnforcedPods - notEnforced.length;
    return more > 0
      ? [`${more} more pods of node \`${node}\` are not held; its report has no room for their names`]
      : [];
  });
  let problems: string[] = [];
  const path = namespace === null ? "/api/v1/pods" : `/api/v1/namespaces/${namespace}/pods`;
  await cluster.each(
    { path },
    (object) => {
      const pod = readPod(object);
      if (typeof pod !== "string") counter.add(pod);
      else if (problems.length < MOST_PROBLEMS) problems.push(pod);
    },
    () => {
      counter.restart();
      problems = [];
    },
  );
  return { namespace, ...counter.result, problems: [...problems, ...unnamed].slice(0, MOST_PROBLEMS), unseen };
}

async function readNamespaces(
  cluster: LiveCluster,
  only: string | null,
): Promise<Map<string, Readonly<Record<string, string>>>> {
  const labels = new Map<string, Readonly<Record<string, string>>>();
  const take = (object: Parameters<typeof readNamespace>[0]): void => {
    const namespace = readNamespace(object);
    if (typeof namespace !== "string") labels.set(namespace.name, namespace.labels);
  };
  if (only === null) await cluster.each({ path: "/api/v1/namespaces" }, take, () => labels.clear(), METADATA_ONLY);
  else take(fields(await cluster.find(`/api/v1/namespaces/${only}`)));
  return labels;
}

const HEADING = ["NAMESPACE", "PODS", "ISOLATED", "RESTRICTED", "OBSERVED", "NOT ENFORCED", "NO AGENT", "PENDING"];

function coverageText(document: CoverageDocument, wide: boolean): string {
  const { namespace, total, reasons, namespaces, uncovered, uncoveredLeftOut, problems, unseen } = document;
  if (total.pods === 0) {
    const where = namespace === null ? "the cluster" : `namespace \`${printable(namespace)}\` (all: -A)`;
    return `no running pods in ${where}\n${unseenText(unseen)}`;
  }
  const cells = (name: string, counts: CoverageCounts): string[] => {
    const { pods, isolated, restricted, observed, notEnforced, noAgent, pending } = counts;
    return [name, ...[pods, isolated, restricted, observed, notEnforced, noAgent, pending].map(String)];
  };
  const rows = namespaces.map((counts) => cells(counts.namespace, counts));
  const sum = namespaces.length > 1 ? [cells("total", total)] : [];
  const text = table([HEADING, ...rows, ...sum], (cell, column) =>
    (column === 5 || column === 6) && cell !== "0" ? paint("deny", cell) : cell,
  );
  const why = Object.entries(reasons).map(([reason, count]) => `${reason} ${count}`);
  const whyText = why.length === 0 ? "" : `not held for: ${printable(why.join(", "))}\n`;
  const parts = [
    text + whyText,
    uncoveredText(uncovered, uncoveredLeftOut, wide),
    problemsText(problems),
    unseenText(unseen),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function uncoveredText(uncovered: readonly UncoveredPod[], leftOut: number, wide: boolean): string {
  if (uncovered.length === 0) return "";
  const shown = wide ? uncovered : uncovered.slice(0, SHOWN);
  const rows = shown.map(({ namespace, pod, node, reason }) => [`${namespace}/${pod}`, node ?? "-", reason]);
  const more = uncovered.length - shown.length;
  const note =
    more > 0 ? `... and ${more + leftOut} more (with -o wide)\n` : leftOut > 0 ? `... and ${leftOut} more\n` : "";
  return `${table([["NOT HELD", "NODE", "WHY"], ...rows])}${note}`;
}

function problemsText(problems: readonly string[]): string {
  return problems.map((problem) => `${paint("warn", "left out")}: ${printable(problem)}\n`).join("");
}
