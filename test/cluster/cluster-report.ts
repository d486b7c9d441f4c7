import { readFile } from "node:fs/promises";
import type { Cluster } from "./cluster.ts";
import { isRunning } from "./components.ts";

/** Of each part; the whole is bounded by the number of parts and pods looked at. */
const LINES = 10;
const LINE_LENGTH = 300;
const ASK_MS = 10_000;
const PODS = 6;

/**
 * What somebody needs who sees only the output of a run: which servers live, what they said last, where pods stand and
 * what those that are not well said last. Some hundred lines at most; never rejects.
 */
export async function clusterReport(cluster: Cluster): Promise<string> {
  const servers = await Promise.all(
    cluster.components.map(async (component) => {
      const state = (await isRunning(component)) ? "runs" : "has ended";
      const log = await readFile(component.log, "utf8").catch(() => "");
      return section(`${component.name} ${state}; its log ends`, log);
    }),
  );
  const asked = await Promise.all([
    ask(cluster, "nodes", ["get", "nodes", "-o", "wide"]),
    ask(cluster, "pods", ["get", "pods", "--all-namespaces", "-o", "wide"], 40),
    ask(cluster, "events", ["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]),
  ]);
  return [...servers, ...asked, ...(await unwell(cluster))].join("\n");
}

/** Logs of Sallyport's own pods, and of those that are not ready. */
async function unwell(cluster: Cluster): Promise<string[]> {
  const path =
    '{range .items[*]}{.metadata.namespace} {.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
  const { stdout } = await cluster.tryKubectl(["get", "pods", "--all-namespaces", "-o", `jsonpath=${path}`], {
    timeoutMs: ASK_MS,
  });
  const pods = stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([namespace, , ready]) => namespace === "sallyport" || ready !== "True");
  return Promise.all(
    pods.slice(0, PODS).map(async ([namespace = "", name = ""]) => {
      const words = ["logs", "--namespace", namespace, name, "--all-containers", "--tail=2000"];
      const { stdout, stderr } = await cluster.tryKubectl(words, { timeoutMs: ASK_MS });
      // Of an agent not the flow records, which are nearly all of its log.
      const lines = (stdout + stderr).split("\n").filter((line) => !line.includes('"flowId"'));
      return section(`${namespace}/${name} says`, lines.join("\n"), 2 * LINES);
    }),
  );
}

async function ask(cluster: Cluster, title: string, words: readonly string[], lines = LINES): Promise<string> {
  const { stdout, stderr } = await cluster.tryKubectl(words, { timeoutMs: ASK_MS });
  return section(title, stdout + stderr, lines);
}

function section(title: string, text: string, most = LINES): string {
  const lines = text.trimEnd().split("\n").slice(-most);
  return [`--- ${title}:`, ...lines.map((line) => line.slice(0, LINE_LENGTH))].join("\n");
}
