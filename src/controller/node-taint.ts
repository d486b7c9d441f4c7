import { setTimeout as pause } from "node:timers/promises";
import { type Logger, RateLimit } from "../agent/log.ts";
import { type KubeClient, KubeError } from "../kube/client.ts";
import { fields, type KubeObject } from "../kube/object.ts";

/** What a node can be created with, so that no pod is scheduled to it before its agent enforces. */
export const TAINT = "sallyport.dev/agent-not-ready";

const LOOK_EVERY_MS = 1_000;
/** Requests under way at once: nodes come in crowds. */
const AT_ONCE = 4;
const AGAIN_MS = 10_000;
const SAY_EVERY_MS = 60_000;
const WRITE_TIMEOUT_MS = 10_000;

type Objects = ReadonlyMap<string, KubeObject>;

export interface NodeTaintsOptions {
  readonly client: KubeClient;
  /** Node objects, with `spec.taints` and `status.nodeInfo.bootID`. */
  readonly nodes: () => Objects;
  /** EgressNodeStatus objects, with `status.ready` and `status.bootID`. */
  readonly statuses: () => Objects;
  readonly leads: () => boolean;
  readonly log: Logger;
}

/** Positions of the taint on a node; none: it does not bear it. */
export function taintsOf(node: KubeObject): number[] {
  const { taints } = fields(node.value["spec"]);
  return (Array.isArray(taints) ? taints : []).flatMap((taint, at) => (fields(taint)["key"] === TAINT ? [at] : []));
}

/**
 * Nodes that bear the taint and need it no longer: their agent said that it enforces, in the boot that the node is in now. What it said stays true for
 * that boot, for rules stay in the kernel whatever becomes of the agent; of an earlier boot it says nothing.
 */
export function enforcingNodes(nodes: Objects, statuses: Objects): KubeObject[] {
  return [...nodes.values()].filter((node) => {
    if (taintsOf(node).length === 0) return false;
    const { bootID } = fields(fields(node.value["status"])["nodeInfo"]);
    const status = fields(statuses.get(node.key)?.value["status"]);
    return typeof bootID === "string" && bootID !== "" && status["bootID"] === bootID && status["ready"] === true;
  });
}

/** Takes the taint from nodes whose agent enforces. It never sets one: who creates a node does. */
export class NodeTaints {
  readonly #options: NodeTaintsOptions;
  readonly #limit = new RateLimit(SAY_EVERY_MS);
  /** By node, when one whose writing failed may be tried again. */
  readonly #notBefore = new Map<string, number>();
  readonly #closed = new AbortController();

  constructor(options: NodeTaintsOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#closed.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      if (this.#options.leads()) await this.#round();
      await pause(LOOK_EVERY_MS, null, { signal }).catch(() => undefined);
    }
  }

  async #round(): Promise<void> {
    const { nodes, statuses, leads } = this.#options;
    const due = enforcingNodes(nodes(), statuses());
    const work = async (): Promise<void> => {
      for (let next = due.pop(); next !== undefined; next = due.pop()) {
        if (!leads() || this.#closed.signal.aborted) return;
        if (performance.now() >= (this.#notBefore.get(next.key) ?? 0)) await this.#take(next);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  async #take(node: KubeObject): Promise<void> {
    const { client, log } = this.#options;
    try {
      await client.write({
        method: "PATCH",
        path: `/api/v1/nodes/${node.key}`,
        contentType: "application/json-patch+json",
        body: JSON.stringify(withoutTaint(node)),
        timeoutMs: WRITE_TIMEOUT_MS,
      });
      // The watch tells in a moment that it is gone.
      this.#notBefore.set(node.key, performance.now() + AGAIN_MS);
      log.info({ event: "node-opened", node: node.key }, `its agent enforces: taint \`${TAINT}\` removed`);
    } catch (error) {
      this.#notBefore.set(node.key, performance.now() + AGAIN_MS);
      // Somebody else changed its taints, or it is gone: the watch tells.
      if (error instanceof KubeError && [404, 409, 422].includes(error.status)) return;
      const suppressed = this.#limit.allow(performance.now());
      if (suppressed === null) return;
      const problem = error instanceof Error ? error.message : String(error);
      log.warn({ event: "taint-not-removed", node: node.key, problem, suppressed }, "no pod is scheduled to the node");
    }
  }
}

/** A JSON patch that takes away exactly this taint of exactly this node, or fails. */
function withoutTaint(node: KubeObject): object[] {
  const gone = taintsOf(node).reverse();
  return [
    { op: "test", path: "/metadata/uid", value: node.uid },
    ...gone.flatMap((at) => [
      { op: "test", path: `/spec/taints/${at}/key`, value: TAINT },
      { op: "remove", path: `/spec/taints/${at}` },
    ]),
  ];
}
