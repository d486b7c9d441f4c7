import type { ClusterAccess } from "../../kube/access.ts";
import { KubeClient } from "../../kube/client.ts";
import type { KubeObject } from "../../kube/object.ts";
import { Reflector } from "../../kube/reflector.ts";
import { type Logger, RateLimit } from "../log.ts";
import type { ClusterMemory } from "./memory.ts";
import { type Place, REQUIRED, type ResourceName, resourcesOf } from "./resources.ts";

const SAY_TROUBLE_EVERY_MS = 60_000;

export interface WatcherListener {
  onChange(resource: ResourceName): void;
  /** The API server has told what there is of one more of them. */
  onSynced(): void;
}

/** All watches of an agent, what they hold, and what an earlier run held for as long as they hold nothing. */
export class ClusterWatcher {
  readonly client: KubeClient;
  readonly reflectors: readonly Reflector[];
  readonly #byName: ReadonlyMap<ResourceName, Reflector>;
  readonly #remembered = new Map<ResourceName, number>();
  readonly #memory: ClusterMemory;

  constructor(access: ClusterAccess, place: Place, memory: ClusterMemory, listener: WatcherListener, log: Logger) {
    this.#memory = memory;
    this.client = new KubeClient(access);
    const byName = new Map<ResourceName, Reflector>();
    for (const resource of resourcesOf(place)) {
      const { name } = resource;
      const limit = new RateLimit(SAY_TROUBLE_EVERY_MS);
      const write = (): void => this.#memory.changed(name, () => reflector.objects.values());
      const reflector: Reflector = new Reflector(resource, this.client, {
        onChanges: () => {
          write();
          listener.onChange(name);
        },
        onSynced: () => {
          this.#remembered.delete(name);
          write();
          listener.onSynced();
        },
        onTrouble: (_, problem) => {
          const suppressed = limit.allow(performance.now());
          if (suppressed === null) return;
          log.warn(
            { event: "watch-failed", resource: name, problem, suppressed },
            "what is known stays in force; trying again",
          );
        },
      });
      byName.set(name, reflector);
    }
    this.#byName = byName;
    this.reflectors = [...byName.values()];
  }

  /** Takes what an earlier run wrote down, then begins to watch. */
  start(): void {
    for (const [name, reflector] of this.#byName) {
      const remembered = this.#memory.read(name);
      if (remembered !== null) {
        reflector.remember(remembered.objects);
        this.#remembered.set(name, remembered.savedAt);
      }
      reflector.start();
    }
  }

  objects(name: ResourceName): ReadonlyMap<string, KubeObject> {
    return this.#byName.get(name)!.objects;
  }

  /** The API server has told what there is of all of them. */
  get synced(): boolean {
    return this.reflectors.every(({ synced }) => synced);
  }

  /** What cannot be done without is known, from the API server or from an earlier run. */
  known(remembered: boolean): boolean {
    return REQUIRED.every((name) => this.#byName.get(name)!.synced || (remembered && this.#remembered.has(name)));
  }

  /** Resources of which nothing is known. */
  get missing(): readonly string[] {
    return this.reflectors.filter(({ synced }) => !synced).map(({ resource }) => resource.name);
  }

  /** Of what is only remembered, when the oldest of it was written down, in milliseconds of Unix time; 0: there is none. */
  get rememberedFrom(): number {
    return this.#remembered.size === 0 ? 0 : Math.min(...this.#remembered.values());
  }

  close(): void {
    for (const reflector of this.reflectors) reflector.close();
    this.client.close();
  }
}
