import type { Logger } from "../agent/log.ts";
import type { Change } from "../kube/changes.ts";
import { type KubeClient, KubeError } from "../kube/client.ts";
import { type Fields, fields, type KubeObject } from "../kube/object.ts";
import { Reflector, type ReflectorListener } from "../kube/reflector.ts";
import type { NodeStatusText, PolicyStatusText } from "../policy/status-schema.ts";
import { Judge } from "./judge.ts";
import { NodeReports } from "./node-reports.ts";
import { objectStatus } from "./object-status.ts";
import { type Kind, NODE_STATUSES, statusPath, WRITTEN } from "./sallyport-objects.ts";

export interface ControllerTimes {
  /** Changes that come within this time are looked at together. */
  readonly gatherMs: number;
  /** After a write that failed. */
  readonly againMs: number;
}

export const CONTROLLER_TIMES: ControllerTimes = { gatherMs: 500, againMs: 5_000 };

export interface ControllerCounts {
  writes: number;
  failedWrites: number;
}

const AT_ONCE = 8;
const WRITE_TIMEOUT_MS = 10_000;

/**
 * Says of each policy, group and AgentConfig whether it can be used and which nodes enforce it. Every replica watches, so that
 * the next leader knows everything at once; only the leader writes.
 */
export class Controller implements ReflectorListener {
  readonly #client: KubeClient;
  readonly #leads: () => boolean;
  readonly #log: Logger;
  readonly #times: ControllerTimes;
  readonly #written: ReadonlyMap<string, { readonly kind: Kind; readonly reflector: Reflector }>;
  readonly #nodes: Reflector;
  readonly #reports = new NodeReports();
  readonly #judge = new Judge();
  readonly counts: ControllerCounts = { writes: 0, failedWrites: 0 };
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(client: KubeClient, leads: () => boolean, log: Logger, times: ControllerTimes = CONTROLLER_TIMES) {
    this.#client = client;
    this.#leads = leads;
    this.#log = log;
    this.#times = times;
    this.#written = new Map(
      WRITTEN.map((resource) => [
        resource.name,
        { kind: resource.kind, reflector: new Reflector(resource, client, this) },
      ]),
    );
    this.#nodes = new Reflector(NODE_STATUSES, client, this);
  }

  /** All that there is has been read. */
  get synced(): boolean {
    return this.reflectors.every((reflector) => reflector.synced);
  }

  get reflectors(): readonly Reflector[] {
    return [this.#nodes, ...[...this.#written.values()].map(({ reflector }) => reflector)];
  }

  start(): void {
    for (const reflector of this.reflectors) reflector.start();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const reflector of this.reflectors) reflector.close();
    await this.#round;
  }

  /** Looks at everything again: this replica has begun to lead. */
  lookAgain(): void {
    this.#soon(this.#times.gatherMs);
  }

  onChanges(changes: readonly Change[], reflector: Reflector): void {
    if (reflector === this.#nodes) {
      for (const { type, object } of changes) {
        if (type === "removed") this.#reports.delete(object.key);
        else this.#reports.set(object.key, fields(object.value["status"]) as NodeStatusText);
      }
    }
    this.#soon(this.#times.gatherMs);
  }

  onSynced(): void {
    this.#soon(this.#times.gatherMs);
  }

  onTrouble(reflector: Reflector, message: string): void {
    this.#log.warn({ event: "watch-trouble", resource: reflector.resource.name, problem: message });
  }

  #soon(afterMs: number): void {
    if (this.#closed || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#round = this.#round
        .then(() => this.#writeAll())
        .catch((error: unknown) => {
          this.#log.error({ event: "status-round-failed", problem: String(error) });
          this.#soon(this.#times.againMs);
        });
    }, afterMs);
  }

  async #writeAll(): Promise<void> {
    if (!this.synced || !this.#leads()) return;
    const due = this.#due();
    let failed = false;
    const one = async (): Promise<void> => {
      for (let next = due.pop(); next !== undefined && this.#leads() && !this.#closed; next = due.pop()) {
        if (!(await this.#write(next))) failed = true;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    if (failed) this.#soon(this.#times.againMs);
  }

  #due(): Due[] {
    const objects = [...this.#written.values()].flatMap(({ kind, reflector }) =>
      [...reflector.objects.values()].map((object) => ({ kind, object, key: object.key, value: object.value })),
    );
    const judgementOf = this.#judge.judge(objects);
    const now = new Date().toISOString().replace(/\.\d+/, "");
    return objects.flatMap(({ kind, object, key, value }) => {
      const before = fields(value["status"]) as PolicyStatusText;
      const judged = {
        generation: Number(fields(value["metadata"])["generation"] ?? 0),
        judgement: judgementOf(`${kind}/${key}`),
        reports: this.#reports.of(object.uid),
        selects: kind === "ClusterEgressPolicy" || kind === "EgressPolicy",
      };
      const status = objectStatus(judged, before, now);
      return sameStatus(before, status) ? [] : [{ kind, object, status }];
    });
  }

  /** @returns false: to be tried again */
  async #write({ kind, object, status }: Due): Promise<boolean> {
    try {
      await this.#client.write({
        method: "PATCH",
        path: statusPath(kind, object.key),
        contentType: "application/merge-patch+json",
        // Another object of its name has another uid: 409.
        body: JSON.stringify({ metadata: { uid: object.uid }, status }),
        timeoutMs: WRITE_TIMEOUT_MS,
      });
      this.counts.writes++;
      return true;
    } catch (error) {
      // Gone or replaced meanwhile: the watch tells.
      if (error instanceof KubeError && [404, 409].includes(error.status)) return true;
      this.counts.failedWrites++;
      const problem = error instanceof Error ? error.message : String(error);
      this.#log.warn({ event: "status-not-written", kind, object: object.key, problem });
      return false;
    }
  }
}

interface Due {
  readonly kind: Kind;
  readonly object: KubeObject;
  readonly status: PolicyStatusText;
}

/** Fields may come back in another order. */
function sameStatus(a: PolicyStatusText, b: PolicyStatusText): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner as Fields).sort(([x], [y]) => (x < y ? -1 : 1)));
  });
}
