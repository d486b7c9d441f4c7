import { setTimeout as pause } from "node:timers/promises";
import { UNINSTALLING } from "../agent/cluster/node-status.ts";
import { RANGES_NAME } from "../agent/cluster/ranges.ts";
import { GROUP } from "../agent/cluster/resources.ts";
import { UNINSTALL_KEY } from "../agent/cluster/uninstall.ts";
import { type KubeClient, KubeError } from "../kube/client.ts";
import { type Fields, fields } from "../kube/object.ts";

const LOOK_EVERY_MS = 1_000;
const TIMEOUT_MS = 15_000;
/** Statuses of one answer: each may hold thousands of policies. */
const PAGE = 50;

export interface Announcement {
  /** Nodes whose agents know. */
  readonly told: readonly string[];
  /** Nodes that said they enforce, and have not answered: their rules stay. */
  readonly silent: readonly string[];
}

/**
 * Tells all agents that Sallyport goes, and waits for their word, `waitMs` at most. From then on an agent that ends takes its rules
 * with it (agent/cluster/uninstall.ts); one that does not know leaves them. Rejects with a KubeError when it cannot be written.
 */
export async function announceUninstall(
  client: KubeClient,
  namespace: string,
  waitMs: number,
  now: () => number = Date.now,
): Promise<Announcement> {
  const body = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: RANGES_NAME },
    data: { [UNINSTALL_KEY]: new Date(now()).toISOString() },
  };
  // Server-side apply: the right to create can be had for this one name (an ordinary creation bears none).
  await client.write({
    method: "PATCH",
    path: `/api/v1/namespaces/${namespace}/configmaps/${RANGES_NAME}?fieldManager=sallyport-uninstall&force=true`,
    contentType: "application/apply-patch+yaml",
    body: JSON.stringify(body),
    timeoutMs: TIMEOUT_MS,
  });
  const until = now() + waitMs;
  for (;;) {
    const answers = await listAnswers(client);
    if (answers.silent.length === 0 || now() >= until) return answers;
    await pause(LOOK_EVERY_MS);
  }
}

async function listAnswers(client: KubeClient): Promise<Announcement> {
  const told: string[] = [];
  const silent: string[] = [];
  for (let next = ""; ; ) {
    const query = `limit=${PAGE}${next === "" ? "" : `&continue=${encodeURIComponent(next)}`}`;
    const page = await readJson(client, `${GROUP}/egressnodestatuses?${query}`);
    const items = Array.isArray(page["items"]) ? page["items"] : [];
    for (const item of items) {
      const name = String(fields(fields(item)["metadata"])["name"]);
      const status = fields(fields(item)["status"]);
      if (saysUninstalling(status)) told.push(name);
      else if (status["ready"] === true) silent.push(name);
    }
    const { continue: more } = fields(page["metadata"]);
    if (typeof more !== "string" || more === "") return { told, silent };
    next = more;
  }
}

function saysUninstalling(status: Fields): boolean {
  const { conditions } = status;
  return Array.isArray(conditions) && conditions.some((one) => fields(one)["reason"] === UNINSTALLING);
}

async function readJson(client: KubeClient, path: string): Promise<Fields> {
  const chunks: Buffer[] = [];
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  await client.read({ path, silenceMs: TIMEOUT_MS, signal, onChunk: (chunk) => void chunks.push(chunk) });
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return fields(JSON.parse(text));
  } catch {
    throw new KubeError(0, "the API server's list cannot be read");
  }
}
