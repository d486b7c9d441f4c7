/**
 * The watches of many agents, without the agents: `node bench/cluster/watchers.ts KUBECONFIG FIRST COUNT`. Each has its own
 * connection, as a real one. Says `open` when all are, and ends when its standard input does; then says in JSON how many
 * bytes came.
 */
import { resourcesOf } from "../../src/agent/cluster/resources.ts";
import { KubeClient } from "../../src/kube/client.ts";
import { kubeconfigAccess } from "../../src/kube/kubeconfig.ts";
import type { Resource } from "../../src/kube/reflector.ts";
import { nodeName } from "./objects.ts";

const LONG_MS = 3_600_000;
const [kubeconfig = "", first = "1", count = "0"] = process.argv.slice(2);
const access = kubeconfigAccess(kubeconfig);
const stop = new AbortController();
const versions = new Map<string, string>();
let bytes = 0;

for (let i = 0; i < Number(count); i++) await watchAll(nodeName(Number(first) + i));
process.stdout.write("open\n");
process.stdin.resume();
process.stdin.once("end", () => {
  stop.abort();
  process.stdout.write(`${JSON.stringify({ bytes })}\n`, () => process.exit(0));
});

async function watchAll(node: string): Promise<void> {
  const client = new KubeClient(access);
  await Promise.all(resourcesOf({ node, namespace: "sallyport" }).map((resource) => watch(client, resource)));
}

/** From now on, without a list: what is measured is what watching costs. Resolves when the server has taken it on. */
async function watch(client: KubeClient, resource: Resource): Promise<void> {
  const { path, fieldSelector, labelSelector } = resource;
  const known = versions.get(path) ?? (await versionOf(client, path));
  versions.set(path, known);
  const query = new URLSearchParams({ watch: "1", allowWatchBookmarks: "true", timeoutSeconds: "3600" });
  query.set("resourceVersion", known);
  if (fieldSelector !== undefined) query.set("fieldSelector", fieldSelector);
  if (labelSelector !== undefined) query.set("labelSelector", labelSelector);
  await new Promise<void>((resolve, reject) => {
    client
      .read({
        path: `${path}?${query}`,
        onOpen: resolve,
        onChunk: (chunk) => {
          bytes += chunk.length;
        },
        silenceMs: LONG_MS,
        signal: stop.signal,
      })
      .catch(reject);
  }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

/** The version of the collection as it is now. */
async function versionOf(client: KubeClient, path: string): Promise<string> {
  let text = "";
  await client.read({
    path: `${path}?limit=1`,
    onChunk: (chunk) => {
      text += chunk.toString("utf8");
    },
    silenceMs: 30_000,
    signal: stop.signal,
  });
  return JSON.parse(text).metadata.resourceVersion;
}
