/**
 * Makes the objects of a large cluster: `node bench/cluster/fill.ts KUBECONFIG NODES PODS NAMESPACES`. Progress on standard
 * error; one line of JSON for each part on standard output: what, how many, in how many seconds.
 */
import { KubeClient, KubeError } from "../../src/kube/client.ts";
import { kubeconfigAccess } from "../../src/kube/kubeconfig.ts";
import {
  type ClusterSize,
  type Creation,
  namespaces,
  nodeStatuses,
  nodes,
  pods,
  policies,
  type Stored,
} from "./objects.ts";

const AT_ONCE = 48;
const SAY_EVERY_MS = 5_000;
const TIMEOUT_MS = 60_000;
const TRIES = 5;

const [kubeconfig = "", ...numbers] = process.argv.slice(2);
const [nodeCount = 0, podCount = 0, namespaceCount = 0] = numbers.map(Number);
const size: ClusterSize = { nodes: nodeCount, pods: podCount, namespaces: namespaceCount };
const client = new KubeClient(kubeconfigAccess(kubeconfig));
const stored = new Map<string, Stored>();

await fill("namespaces", namespaces(size));
await fill("policies", policies(), remember);
await fill("nodes", nodes(size));
await fill("pods", pods(size));
await fill(
  "node statuses",
  nodeStatuses(size, (key) => stored.get(key)!),
);
client.close();

/** `take` is given each answer. */
async function fill(what: string, creations: Generator<Creation>, take?: (answer: string) => void): Promise<void> {
  const began = performance.now();
  let done = 0;
  let sayAt = began + SAY_EVERY_MS;
  const worker = async (): Promise<void> => {
    // Not `for of`, which would end the generator for all when one fails.
    for (let next = creations.next(); next.done !== true; next = creations.next()) {
      const answer = await create(next.value);
      take?.(answer);
      done++;
      if (performance.now() < sayAt) continue;
      sayAt += SAY_EVERY_MS;
      process.stderr.write(`${what}: ${done}\n`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(`${JSON.stringify({ what, count: done, seconds })}\n`);
}

async function create({ path, object, status }: Creation): Promise<string> {
  const answer = await persist(async () => {
    try {
      return await client.write({
        ...{ method: "POST", path, contentType: "application/json" },
        ...{ body: JSON.stringify(object), timeoutMs: TIMEOUT_MS },
      });
    } catch (error) {
      // Somebody was before us, or a try of ours was heard and its answer lost.
      if (error instanceof KubeError && error.status === 409) return read(`${path}/${object.metadata.name}`);
      throw error;
    }
  });
  if (status === undefined) return answer;
  const { apiVersion, kind, metadata } = object;
  const { name } = metadata;
  const custom = kind === "EgressNodeStatus";
  const body = custom ? { apiVersion, kind, metadata: { name }, status } : { status };
  return persist(() =>
    client.write({
      method: "PATCH",
      path: `${path}/${name}/status${custom ? "?fieldManager=sallyport-agent&force=true" : ""}`,
      contentType: custom ? "application/apply-patch+yaml" : "application/merge-patch+json",
      body: JSON.stringify(body),
      timeoutMs: TIMEOUT_MS,
    }),
  );
}

async function read(path: string): Promise<string> {
  let text = "";
  const onChunk = (chunk: Buffer): void => {
    text += chunk.toString("utf8");
  };
  await client.read({ path, onChunk, silenceMs: TIMEOUT_MS, signal: new AbortController().signal });
  return text;
}

/** An API server under load says 429, or nothing. */
async function persist<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      process.stderr.write(`again: ${String(error)}\n`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

function remember(answer: string): void {
  const { kind, metadata } = JSON.parse(answer);
  const { namespace, name, uid, generation } = metadata;
  const key = namespace === undefined ? name : `${namespace}/${name}`;
  stored.set(key, { kind, ...(namespace === undefined ? {} : { namespace }), name, uid, generation });
}
