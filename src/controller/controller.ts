import { isDeepStrictEqual } from "node:util";
import { KIND_OF, type KindResource } from "../agent/cluster/resources.ts";
import type { Logger } from "../agent/log.ts";
import type { Change } from "../kube/changes.ts";
import { type KubeClient, KubeError } from "../kube/client.ts";
import { fields, generationOf, type KubeObject } from "../kube/object.ts";
import { Reflector, type ReflectorListener } from "../kube/reflector.ts";
import type { NodeStatusText, PolicyStatusText } from "../policy/status-schema.ts";
import type { DenialEvents } from "./denial-events.ts";
import { Judge } from "./judge.ts";
import { NodeReports } from "./node-reports.ts";
import { type Judgement, objectStatus } from "./object-status.ts";
import { NODE_STATUSES, statusPath, WRITTEN } from "./sallyport-objects.ts";
import { StatusPace } from "./status-pace.ts";

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
  readonly #written: ReadonlyMap<KindResource, Reflector>;
  readonly #nodes: Reflector;
  readonly #events: Pick<DenialEvents, "changed" | "lookAgain">;
  readonly #reports = new NodeReports();
  readonly #judge = new Judge();
  readonly #pace: StatusPace;
  /** What is to be said of each object by itself; null: something was written since. */
  #judgementOf: ((id: string) => Judgement) | null = null;
  /** UIDs of objects whose status may have changed although nobody wrote them. */
  readonly #stale = new Set<string>();
  readonly counts: ControllerCounts = { writes: 0, failedWrites: 0 };
  /** Told of all groups when one of them has changed. */
  onGroups: ((groups: ReadonlyMap<string, KubeObject>) => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #timerAt = 0;
  #round: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(
    client: KubeClient,
    leads: () => boolean,
    events: Pick<DenialEvents, "changed" | "lookAgain">,
    log: Logger,
    times: ControllerTimes = CONTROLLER_TIMES,
  ) {
    this.#events = events;
    this.#client = client;
    this.#leads = leads;
    this.#log = log;
    this.#times = times;
    this.#written = new Map(WRITTEN.map((resource) => [resource.name, new Reflector(resource, client, this)]));
    this.#nodes = new Reflector(NODE_STATUSES, client, this);
    this.#pace = new StatusPace(() => this.#nodes.objects.size);
  }

  /** All that there is has been read. */
  get synced(): boolean {
    return this.reflectors.every((reflector) => reflector.synced);
  }

  get reflectors(): readonly Reflector[] {
    return [this.#nodes, ...this.#written.values()];
  }

  /** Policies that could not be compared with all others. */
  get notCompared(): number {
    return this.#judge.unfinished;
  }

  /** What agents say of their nodes. */
  get nodeStatuses(): ReadonlyMap<string, KubeObject> {
    return this.#nodes.objects;
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
    const statuses = [...this.#nodes.objects.values()].map(({ value }) => fields(value["status"]) as NodeStatusText);
    this.#events.lookAgain(statuses.flatMap(({ denials = [] }) => denials));
    this.#judgementOf = null;
    this.#soon(this.#times.gatherMs);
  }

  onChanges(changes: readonly Change[], reflector: Reflector): void {
    for (const change of changes) {
      if (reflector === this.#nodes) this.#nodeChanged(change);
      else if (isStatusOnly(change)) this.#stale.add(change.object.uid);
      // What one says may be a fault of another: of a group that is gone, of a rule that is never reached.
      else this.#judgementOf = null;
    }
    this.#tellGroups(reflector);
    this.#soon(this.#times.gatherMs);
  }

  #nodeChanged(change: Change): void {
    const { type, object } = change;
    const status = fields(object.value["status"]) as NodeStatusText;
    if (type === "added") this.#events.lookAgain(status.denials ?? []);
    else if (type === "changed") {
      const before = fields(change.before.value["status"]) as NodeStatusText;
      this.#events.changed(before.denials ?? [], status.denials ?? []);
    }
    const uids = type === "removed" ? this.#reports.delete(object.key) : this.#reports.set(object.key, status);
    for (const uid of uids) this.#stale.add(uid);
  }

  onSynced(reflector: Reflector): void {
    this.#tellGroups(reflector);
    this.#soon(this.#times.gatherMs);
  }

  #tellGroups({ resource, synced, objects }: Reflector): void {
    if (resource.name === "destinationgroups" && synced) this.onGroups?.(objects);
  }

  onTrouble(reflector: Reflector, message: string): void {
    this.#log.warn({ event: "watch-trouble", resource: reflector.resource.name, problem: message });
  }

  #soon(afterMs: number): void {
    const at = performance.now() + afterMs;
    if (this.#closed || (this.#timer !== null && this.#timerAt <= at)) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAt = at;
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
    const objects = [...this.#written].flatMap(([resource, { objects }]) =>
      [...objects.values()].map((object) => ({ resource, object })),
    );
    const everything = this.#judgementOf === null;
    this.#judgementOf ??= this.#judge.judge(objects);
    const judgementOf = this.#judgementOf;
    const now = new Date().toISOString().replace(/\.\d+/, "");
    const looked = objects.filter(({ object }) => everything || this.#stale.has(object.uid));
    this.#stale.clear();
    let later = Number.POSITIVE_INFINITY;
    const due = looked.flatMap(({ resource, object }) => {
      const before = fields(object.value["status"]) as PolicyStatusText;
      const judged = {
        generation: generationOf(object),
        judgement: judgementOf(`${resource}/${object.key}`),
        reports: this.#reports.of(object.uid),
        selects: resource === "clusteregresspolicies" || resource === "egresspolicies",
      };
      const status = objectStatus(judged, before, now);
      if (isDeepStrictEqual(before, status)) return [];
      const wait = this.#pace.wait(object.uid, before, status, performance.now());
      if (wait === 0) return [{ resource, object, status }];
      this.#stale.add(object.uid);
      later = Math.min(later, wait);
      return [];
    });
    if (later < Number.POSITIVE_INFINITY) this.#soon(later);
    return due;
  }

  /** @returns false: to be tried again */
  async #write({ resource, object, status }: Due): Promise<boolean> {
    try {
      await this.#client.write({
        method: "PATCH",
        path: statusPath(resource, object.key),
        contentType: "application/merge-patch+json",
        // Another object of its name has another uid: 409.
        body: JSON.stringify({ metadata: { uid: object.uid }, status }),
        timeoutMs: WRITE_TIMEOUT_MS,
      });
      this.counts.writes++;
      this.#pace.wrote(object.uid, performance.now());
      return true;
    } catch (error) {
      // Gone or replaced meanwhile: the watch tells.
      if (error instanceof KubeError && [404, 409].includes(error.status)) return true;
      this.counts.failedWrites++;
      this.#stale.add(object.uid);
      const problem = error instanceof Error ? error.message : String(error);
      this.#log.warn({ event: "status-not-written", kind: KIND_OF[resource], object: object.key, problem });
      return false;
    }
  }
}

interface Due {
  readonly resource: KindResource;
  readonly object: KubeObject;
  readonly status: PolicyStatusText;
}

/** Whoever writes anything else raises the generation. */
function isStatusOnly(change: Change): boolean {
  return change.type === "changed" && generationOf(change.object) === generationOf(change.before);
}
