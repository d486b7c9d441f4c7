import { setTimeout as sleep } from "node:timers/promises";
import type { FlowRecord } from "../../flow/record.ts";
import { Backoff } from "../../kube/backoff.ts";
import { KubeError } from "../../kube/client.ts";
import { UsageError } from "../failure.ts";
import { endsAll, readAgentLog } from "./agent-log.ts";
import type { AgentPod } from "./agent-pods.ts";
import { agentsWithLogs } from "./agents-with-logs.ts";
import type { LiveCluster } from "./live-cluster.ts";
import { TimeOrder } from "./time-order.ts";

/** Streams on one connection; API servers allow a hundred or more. */
const MOST_AGENTS = 64;
const LOOK_EVERY_MS = 10_000;
const PRINT_EVERY_MS = 100;
/** Records that a log tells again when it is opened again are known by these. */
const MOST_SEEN = 2_000;
const GONE = 404;

export interface FollowOptions {
  readonly cluster: LiveCluster;
  /** Null: all. */
  readonly node: string | null;
  /** Milliseconds of Unix time. */
  readonly since: number;
  readonly keep: (record: FlowRecord) => boolean;
  readonly print: (records: readonly FlowRecord[]) => Promise<void>;
  readonly warn: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Follows the logs of agents side by side, of those too that come later, until it is stopped. */
export class FlowFollower {
  readonly #options: FollowOptions;
  readonly #order = new TimeOrder();
  readonly #followed = new Set<string>();
  readonly #stop = new AbortController();
  #failure: unknown = null;
  #roomWaiters: (() => void)[] = [];

  constructor(options: FollowOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#stop.abort(), { once: true });
  }

  /** Resolves when it was stopped. @throws what ends it: no right, too many agents */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    const looking = this.#look();
    while (!signal.aborted) {
      await this.#print(false);
      await sleep(PRINT_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
    await looking;
    await this.#print(true);
    if (this.#failure !== null) throw this.#failure;
  }

  async #print(all: boolean): Promise<void> {
    const records = this.#order.take(performance.now(), all);
    if (records.length > 0) await this.#options.print(records);
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  /** Finds agents: those there are, and from time to time those that have come. */
  async #look(): Promise<void> {
    const { cluster, node, warn } = this.#options;
    const { signal } = this.#stop;
    for (let first = true; !signal.aborted; first = false) {
      try {
        const agents = await agentsWithLogs(cluster, node, first ? warn : () => undefined);
        if (agents.length > MOST_AGENTS) {
          throw new UsageError(
            `${agents.length} agents run, and at most ${MOST_AGENTS} are followed at once: name a pod, or a \`--node\``,
          );
        }
        for (const agent of agents) this.#follow(agent);
      } catch (error) {
        // Later on nothing is new: the API server is away, or no agent runs for a moment.
        if (first) this.#fail(error);
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #follow(agent: AgentPod): void {
    if (this.#followed.has(agent.name)) return;
    this.#followed.add(agent.name);
    this.#followOne(agent).catch((error: unknown) => this.#fail(error));
  }

  /** Opens the log again where it broke off, for as long as the pod is there. */
  async #followOne({ name, node }: AgentPod): Promise<void> {
    const { cluster, warn } = this.#options;
    const { signal } = this.#stop;
    const backoff = new Backoff();
    const seen = new Seen();
    let since = this.#options.since;
    while (!signal.aborted) {
      try {
        const request = { pod: name, since, tailLines: null, follow: true, signal };
        await readAgentLog(cluster, request, {
          onBroken: () => undefined,
          onRecord: (record) => {
            backoff.worked();
            since = Math.max(since, Date.parse(record.time) || 0);
            return seen.isNew(record) ? this.#take(record) : undefined;
          },
        });
        backoff.failed();
      } catch (error) {
        if (signal.aborted) return;
        if (endsAll(error)) throw error;
        if (error instanceof KubeError && error.status === GONE) break;
        backoff.failed();
        warn(`node \`${node}\`: its log is opened again (${(error as Error).message})`);
      }
      await sleep(backoff.pause(), undefined, { signal }).catch(() => undefined);
    }
    this.#followed.delete(name);
  }

  #take(record: FlowRecord): void | Promise<void> {
    if (!this.#options.keep(record)) return;
    this.#order.add(record, performance.now());
    if (this.#order.full) return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stop.abort();
  }
}

/** Records that were told already. */
class Seen {
  #now = new Set<string>();
  #before = new Set<string>();

  isNew(record: FlowRecord): boolean {
    const { time, event, flowId = "", path = "" } = record;
    const key = `${time} ${event} ${flowId} ${path}`;
    if (this.#now.has(key) || this.#before.has(key)) return false;
    this.#now.add(key);
    if (this.#now.size < MOST_SEEN) return true;
    this.#before = this.#now;
    this.#now = new Set();
    return true;
  }
}
