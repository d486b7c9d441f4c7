import type { ClusterAccess } from "../../kube/access.ts";
import type { Change } from "../../kube/changes.ts";
import { KubeClient } from "../../kube/client.ts";
import type { Hold, KubeObject } from "../../kube/object.ts";
import { Reflector, type Resource } from "../../kube/reflector.ts";
import type { StandardKind } from "../../model/policy.ts";
import { TEXT_PACKER } from "../../workloads/text-packer.ts";
import { type Logger, RateLimit } from "../log.ts";
import type { ClusterMemory } from "./memory.ts";
import { ObjectPacking } from "./packed-objects.ts";
import { type Place, REQUIRED, type ResourceName, resourcesOf } from "./resources.ts";
import {
  type SourceState,
  STANDARD_KIND_OF,
  STANDARD_RESOURCES,
  type StandardResource,
  sourceState,
  standardResource,
} from "./standard.ts";

const SAY_TROUBLE_EVERY_MS = 60_000;

export interface WatcherListener {
  /** How objects of which a cluster has thousands are held. */
  hold(resource: ResourceName, packing: ObjectPacking): Hold;
  onChange(resource: ResourceName, changes: readonly Change[]): void;
  /** The API server has told what there is of one more of them. */
  onSynced(): void;
}

/** Of these there are as many as the cluster is large. */
const PACKED: ReadonlySet<ResourceName> = new Set([
  "namespaces",
  "clusteregresspolicies",
  "egresspolicies",
  "destinationgroups",
  ...STANDARD_RESOURCES,
]);

const NONE: ReadonlyMap<string, KubeObject> = new Map();

/** All watches of an agent, what they hold, and what an earlier run held for as long as they hold nothing. */
export class ClusterWatcher {
  readonly client: KubeClient;
  readonly #byName = new Map<ResourceName, Reflector>();
  readonly #remembered = new Map<ResourceName, number>();
  readonly #packings = new Map<ResourceName, ObjectPacking>();
  readonly #memory: ClusterMemory;
  readonly #listener: WatcherListener;
  readonly #log: Logger;

  constructor(access: ClusterAccess, place: Place, memory: ClusterMemory, listener: WatcherListener, log: Logger) {
    this.#memory = memory;
    this.#listener = listener;
    this.#log = log;
    this.client = new KubeClient(access);
    for (const resource of resourcesOf(place)) this.#add(resource);
  }

  #add(resource: Resource & { readonly name: ResourceName }): void {
    const { name } = resource;
    const limit = new RateLimit(SAY_TROUBLE_EVERY_MS);
    const write = (): void => this.#memory.changed(name, () => reflector.objects.values());
    const packing = PACKED.has(name) ? new ObjectPacking(TEXT_PACKER) : null;
    if (packing !== null) this.#packings.set(name, packing);
    const held: Resource = packing === null ? resource : { ...resource, hold: this.#listener.hold(name, packing) };
    const reflector: Reflector = new Reflector(held, this.client, {
      onChanges: (changes) => {
        write();
        packing?.changed(reflector.objects.values());
        this.#listener.onChange(name, changes);
      },
      onSynced: () => {
        this.#remembered.delete(name);
        write();
        this.#listener.onSynced();
      },
      onTrouble: (_, problem) => {
        const suppressed = limit.allow(performance.now());
        if (suppressed === null) return;
        this.#log.warn(
          { event: "watch-failed", resource: name, problem, suppressed },
          "what is known stays in force; trying again",
        );
      },
    });
    this.#byName.set(name, reflector);
  }

  get reflectors(): readonly Reflector[] {
    return [...this.#byName.values()];
  }

  /** Takes what an earlier run wrote down, then begins to watch. */
  start(): void {
    for (const name of this.#byName.keys()) this.#start(name);
  }

  #start(name: ResourceName): void {
    const reflector = this.#byName.get(name)!;
    const remembered = this.#memory.read(name, reflector.resource.hold);
    if (remembered !== null) {
      reflector.remember(remembered.objects);
      this.#remembered.set(name, remembered.savedAt);
    }
    reflector.start();
  }

  /** Watches these standard policies, and no others. @returns those of which that has changed what is known */
  follow(kinds: readonly StandardKind[]): readonly StandardResource[] {
    const changed = STANDARD_RESOURCES.filter(
      (name) => kinds.includes(STANDARD_KIND_OF[name]) !== this.#byName.has(name),
    );
    for (const name of changed) {
      const reflector = this.#byName.get(name);
      if (reflector === undefined) {
        this.#add(standardResource(name));
        this.#start(name);
      } else {
        reflector.close();
        this.#byName.delete(name);
        this.#remembered.delete(name);
        this.#packings.delete(name);
      }
    }
    return changed;
  }

  /** Of the standard policies that are watched. */
  get sources(): readonly SourceState[] {
    return STANDARD_RESOURCES.flatMap((name) => {
      const reflector = this.#byName.get(name);
      return reflector === undefined ? [] : [sourceState(STANDARD_KIND_OF[name], reflector)];
    });
  }

  /** Of the standard policies that are watched something is known, from the API server or from an earlier run. */
  sourcesKnown(remembered: boolean): boolean {
    return STANDARD_RESOURCES.every((name) => !this.#byName.has(name) || this.#isKnown(name, remembered));
  }

  objects(name: ResourceName): ReadonlyMap<string, KubeObject> {
    return this.#byName.get(name)?.objects ?? NONE;
  }

  /** The API server has told what there is of all of them. */
  get synced(): boolean {
    return this.reflectors.every(({ synced }) => synced);
  }

  /** What cannot be done without is known, from the API server or from an earlier run. */
  known(remembered: boolean): boolean {
    return REQUIRED.every((name) => this.#isKnown(name, remembered));
  }

  #isKnown(name: ResourceName, remembered: boolean): boolean {
    return this.#byName.get(name)!.synced || (remembered && this.#remembered.has(name));
  }

  /** Resources of which nothing is known. */
  get missing(): readonly string[] {
    return this.reflectors.filter(({ synced }) => !synced).map(({ resource }) => resource.name);
  }

  /** Of what is only remembered, when the oldest of it was written down, in milliseconds of Unix time; 0: there is none. */
  get rememberedFrom(): number {
    return this.#remembered.size === 0 ? 0 : Math.min(...this.#remembered.values());
  }

  /** Lets what is held take as little memory as it can. */
  putAway(): void {
    for (const packing of this.#packings.values()) packing.putAway();
  }

  close(): void {
    for (const reflector of this.reflectors) reflector.close();
    this.client.close();
  }
}
