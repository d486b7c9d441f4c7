import { NODES_KEY, RANGES_KEY, RANGES_NAME } from "../agent/cluster/ranges.ts";
import type { Logger } from "../agent/log.ts";
import type { KubeClient } from "../kube/client.ts";
import { type Fields, fields, pick } from "../kube/object.ts";
import { Reflector, type ReflectorListener, type Resource } from "../kube/reflector.ts";
import { type Cidr, cidrIsIPv4, formatCidr, parseCidr } from "../net/cidr.ts";
import { cidrUnion } from "../net/cidr-union.ts";

export const NODES: Resource = {
  name: "nodes",
  path: "/api/v1/nodes",
  trim: ({ spec, status }) => ({
    spec: pick(spec, "podCIDR", "podCIDRs", "taints"),
    status: { nodeInfo: pick(fields(status)["nodeInfo"], "bootID") },
  }),
};

/** Nodes come in crowds. */
const GATHER_MS = 2_000;
const AGAIN_MS = 10_000;
const WRITE_TIMEOUT_MS = 10_000;

/**
 * What is wider is no node's: a kubelet may say which range its node has where nobody else does, and with `0.0.0.0/0` one node in wrong hands would
 * make everything inside, and open the cluster.
 */
const WIDEST = { v4: 96 + 16, v6: 48 } as const;

/** The fewest ranges that hold the pods of these Nodes, a line each. What is no range is left out, and what is too wide for one node. */
export function podRangesOf(nodes: Iterable<Fields>): string {
  const found: Cidr[] = [];
  for (const node of nodes) {
    const { podCIDR, podCIDRs } = fields(node["spec"]);
    for (const text of [podCIDR, ...(Array.isArray(podCIDRs) ? podCIDRs : [])]) {
      const read = typeof text === "string" ? parseCidr(text) : null;
      if (read?.ok === true && isOfOneNode(read.cidr)) found.push(read.cidr);
    }
  }
  return cidrUnion(found).map(formatCidr).join("\n");
}

/**
 * How many nodes there are, as agents are told: the next power of two, which is told anew only when it is no more than half true. Each writing is
 * told to all nodes.
 */
export function roundedNodes(count: number, told: number): number {
  if (count <= told && count * 4 > told) return told;
  return 2 ** Math.ceil(Math.log2(Math.max(1, count)));
}

function isOfOneNode(cidr: Cidr): boolean {
  return cidr.bits >= (cidrIsIPv4(cidr) ? WIDEST.v4 : WIDEST.v6);
}

/**
 * Tells the agents where pods of other nodes are: inside, so no egress. An agent watches its own Node only; this one replica watches
 * all, and writes what it found into one small ConfigMap.
 */
export class ClusterRanges implements ReflectorListener {
  readonly reflector: Reflector;
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #leads: () => boolean;
  readonly #log: Logger;
  /** What the ConfigMap says, as far as this replica wrote it. */
  #written: string | null = null;
  #toldNodes = 0;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(client: KubeClient, namespace: string, leads: () => boolean, log: Logger) {
    this.#client = client;
    this.#namespace = namespace;
    this.#leads = leads;
    this.#log = log;
    this.reflector = new Reflector(NODES, client, this);
  }

  start(): void {
    this.reflector.start();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.reflector.close();
  }

  /** Writes again: this replica has begun to lead, and another may have written since. */
  lookAgain(): void {
    this.#written = null;
    this.#soon(0);
  }

  onChanges(): void {
    this.#soon(GATHER_MS);
  }

  onSynced(): void {
    this.#soon(0);
  }

  onTrouble(_: Reflector, message: string): void {
    this.#log.warn({ event: "watch-trouble", resource: "nodes", problem: message });
  }

  #soon(afterMs: number): void {
    if (this.#closed || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#write();
    }, afterMs);
  }

  async #write(): Promise<void> {
    if (!this.reflector.synced || !this.#leads()) return;
    const ranges = podRangesOf([...this.reflector.objects.values()].map(({ value }) => value));
    const nodes = roundedNodes(this.reflector.objects.size, this.#toldNodes);
    const data = { [RANGES_KEY]: ranges, [NODES_KEY]: String(nodes) };
    const text = JSON.stringify(data);
    if (text === this.#written) return;
    try {
      await this.#put(data);
      this.#written = text;
      this.#toldNodes = nodes;
      this.#log.info({ event: "pod-ranges", ranges: ranges.split("\n").slice(0, 16) });
    } catch (error) {
      this.#log.warn({
        event: "pod-ranges-not-written",
        problem: error instanceof Error ? error.message : String(error),
      });
      this.#soon(AGAIN_MS);
    }
  }

  /** Server-side apply, which makes it too: so the right to create ends at this one name. Other keys stay as they are. */
  async #put(data: Readonly<Record<string, string>>): Promise<void> {
    await this.#client.write({
      method: "PATCH",
      path: `/api/v1/namespaces/${this.#namespace}/configmaps/${RANGES_NAME}?fieldManager=sallyport-controller&force=true`,
      contentType: "application/apply-patch+yaml",
      body: JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: RANGES_NAME }, data }),
      timeoutMs: WRITE_TIMEOUT_MS,
    });
  }
}
