/**
 * Changes objects while others measure: `node bench/cluster/driver.ts KUBECONFIG NODES PODS NAMESPACES`. Each line of standard input is a
 * command, each line of standard output its answer in JSON.
 *
 *   patch PATH BODY     merge-patches; answers `{ sent, answered }`, CLOCK_MONOTONIC in milliseconds
 *   pods COUNT          makes, labels and deletes so many pods of other nodes; answers `{ seconds }`
 */
import { createInterface } from "node:readline";
import { KubeClient } from "../../src/kube/client.ts";
import { kubeconfigAccess } from "../../src/kube/kubeconfig.ts";
import { type ClusterSize, namespaceName, placeOf, pod } from "./objects.ts";

const TIMEOUT_MS = 30_000;
const AT_ONCE = 16;

const [kubeconfig = "", ...numbers] = process.argv.slice(2);
const [nodes = 0, pods = 0, namespaces = 0] = numbers.map(Number);
const size: ClusterSize = { nodes, pods, namespaces };
const client = new KubeClient(kubeconfigAccess(kubeconfig));
let churned = 0;

for await (const line of createInterface({ input: process.stdin })) {
  const [command, first = "", ...rest] = line.split(" ");
  const answer = command === "patch" ? await patch(first, rest.join(" ")) : await churn(Number(first));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
client.close();

async function patch(path: string, body: string): Promise<object> {
  const sent = now();
  await client.write({
    ...{ method: "PATCH", path, contentType: "application/merge-patch+json", body },
    timeoutMs: TIMEOUT_MS,
  });
  return { sent, answered: now() };
}

async function churn(count: number): Promise<object> {
  const began = now();
  const until = churned + count;
  const one = async (): Promise<void> => {
    while (churned < until) {
      const index = churned++;
      const { node, namespace } = placeOf(index % pods, size);
      const name = `churn-${index}`;
      const { path, object } = pod(namespaceName(namespace), name, index, node);
      const write = (method: "POST" | "PATCH" | "DELETE", to: string, body: object): Promise<string> => {
        const contentType = method === "PATCH" ? "application/merge-patch+json" : "application/json";
        return client.write({ method, path: to, contentType, body: JSON.stringify(body), timeoutMs: TIMEOUT_MS });
      };
      await write("POST", path, object);
      await write("PATCH", `${path}/${name}`, { metadata: { labels: { changed: "yes" } } });
      await write("DELETE", `${path}/${name}`, { gracePeriodSeconds: 0 });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return { seconds: (now() - began) / 1000 };
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
