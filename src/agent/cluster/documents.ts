import { generationOf, type KubeObject } from "../../kube/object.ts";
import type { DestinationGroup, Policy, StandardKind } from "../../model/policy.ts";
import { type ClusterReading, type Flaw, readClusterGroup, readClusterPolicy } from "../../policy/cluster-reading.ts";
import type { Kind } from "../../policy/schema.ts";
import { readStandardPolicy } from "../../policy/standard/reading.ts";
import { KIND_OF, type KindResource } from "./resources.ts";
import { STANDARD_KIND_OF, STANDARD_RESOURCES, type StandardResource } from "./standard.ts";

/** An object of the API server, and what is made of it here. */
export interface ListedObject {
  readonly kind: Kind | StandardKind;
  readonly object: KubeObject;
  /** What is in force of it, or in its place; null: nothing, or it is no policy. */
  readonly policy: Policy | null;
  readonly refused: Refused | null;
  /** Of a standard policy, the rules with peers inside the cluster, which are not decided here. */
  readonly inside: readonly string[];
}

/** An object that cannot be used as it is written. */
export interface Refused {
  readonly kind: Kind | StandardKind;
  readonly key: string;
  readonly uid: string;
  readonly generation: number;
  readonly reason: Flaw["reason"];
  /** One line. */
  readonly problem: string;
  /** What is in force instead: what it said before; the strictest that it may mean; or nothing. */
  readonly instead: "last-good" | "strictest" | "nothing";
}

/** In words. */
export const INSTEAD: Readonly<Record<Refused["instead"], string>> = {
  "last-good": "what it said before stays in force",
  strictest: "what of it is understood is in force, and opens nothing that it might close",
  nothing: "it is left out",
};

type Content =
  | { readonly type: "policy"; readonly value: Policy }
  | { readonly type: "group"; readonly value: DestinationGroup };

interface Entry {
  readonly object: KubeObject;
  readonly content: Content | null;
  readonly refused: Refused | null;
  readonly inside: readonly string[];
}

type OwnResource = Exclude<KindResource, "agentconfigs">;
export type DocumentResource = OwnResource | StandardResource;

const DOCUMENT_KINDS = { ...KIND_OF, ...STANDARD_KIND_OF };

const OWN_RESOURCES: readonly OwnResource[] = ["clusteregresspolicies", "egresspolicies", "destinationgroups"];
export const POLICY_RESOURCES: readonly DocumentResource[] = [...OWN_RESOURCES, ...STANDARD_RESOURCES];

const NOTHING_INSIDE: readonly string[] = [];

/**
 * Reads the documents that an API server holds. Bad input never replaces what runs: an object that is wrong stays what it was, for as
 * long as it is the same object. One that never was right, and one that was written for a newer agent, is read as the strictest that it
 * may mean (policy/cluster-reading): what it said before may be looser than what it says. So is a standard policy, always: that it cannot be
 * read is no mistake of its author's.
 */
export class ClusterDocuments {
  readonly #entries = new Map<string, Entry>();
  /** Of objects that could be read, by kind and key. */
  readonly #good = new Map<string, { readonly object: KubeObject; readonly content: Content }>();

  /** What could be read last, before a restart. */
  remember(good: Iterable<KubeObject>): void {
    for (const object of good) {
      const slash = object.key.indexOf("/");
      const resource = OWN_RESOURCES.find((name) => name === object.key.slice(0, slash));
      if (resource === undefined) continue;
      const one = { ...object, key: object.key.slice(slash + 1) };
      const { value, flaw } = readDocument(resource, one);
      if (value !== null && flaw === null) this.#good.set(object.key, { object: one, content: value });
    }
  }

  /** What has to be remembered beside the objects themselves: the good versions of those that now are bad. */
  get remembered(): readonly KubeObject[] {
    return [...this.#entries].flatMap(([id, { refused }]) => {
      const good = refused?.instead === "last-good" ? this.#good.get(id) : undefined;
      return good === undefined ? [] : [{ ...good.object, key: id }];
    });
  }

  /** Reads the objects of a resource as they are now; those that are the same objects as before cost nothing. */
  take(resource: DocumentResource, objects: ReadonlyMap<string, KubeObject>): void {
    const prefix = `${resource}/`;
    for (const id of this.#entries.keys()) {
      if (!id.startsWith(prefix) || objects.has(id.slice(prefix.length))) continue;
      this.#entries.delete(id);
      this.#good.delete(id);
    }
    for (const [key, object] of objects) {
      const id = prefix + key;
      if (this.#entries.get(id)?.object !== object) this.#entries.set(id, this.#read(id, resource, object));
    }
  }

  get policies(): readonly Policy[] {
    return this.#contents().flatMap((content) => (content.type === "policy" ? [content.value] : []));
  }

  get groups(): readonly DestinationGroup[] {
    return this.#contents().flatMap((content) => (content.type === "group" ? [content.value] : []));
  }

  /** Those of the policies and groups; of the AgentConfig its reader tells. */
  get refused(): readonly Refused[] {
    return [...this.#entries.values()].flatMap(({ refused }) => refused ?? []);
  }

  /** All that is known of them. */
  get listing(): readonly ListedObject[] {
    return [...this.#entries].map(([id, { object, content, refused, inside }]) => {
      const kind = DOCUMENT_KINDS[id.slice(0, id.indexOf("/")) as DocumentResource];
      return { kind, object, policy: content?.type === "policy" ? content.value : null, refused, inside };
    });
  }

  #contents(): Content[] {
    return [...this.#entries.values()].flatMap(({ content }) => content ?? []);
  }

  #read(id: string, resource: DocumentResource, object: KubeObject): Entry {
    if (isStandard(resource)) return readStandard(resource, object);
    const inside = NOTHING_INSIDE;
    const { value, flaw } = readDocument(resource, object);
    if (flaw === null && value !== null) {
      this.#good.set(id, { object, content: value });
      return { object, content: value, refused: null, inside };
    }
    const refused = refusedAs(resource, object, flaw ?? { reason: "Invalid", message: "not read" });
    const { uid } = object;
    const { reason } = refused;
    const good = this.#good.get(id);
    if (good?.object.uid !== uid) this.#good.delete(id);
    else if (reason === "Invalid") {
      return { object, content: good.content, refused: { ...refused, instead: "last-good" }, inside };
    }
    return {
      object,
      content: value,
      refused: { ...refused, instead: value === null ? "nothing" : "strictest" },
      inside,
    };
  }
}

function isStandard(resource: DocumentResource): resource is StandardResource {
  return Object.hasOwn(STANDARD_KIND_OF, resource);
}

function refusedAs(resource: DocumentResource, object: KubeObject, { reason, message }: Flaw) {
  const { key, uid } = object;
  return { kind: DOCUMENT_KINDS[resource], key, uid, generation: generationOf(object), reason, problem: message };
}

function readStandard(resource: StandardResource, object: KubeObject): Entry {
  const { value, flaw, inside } = readStandardPolicy(STANDARD_KIND_OF[resource], object.value);
  const content = value === null ? null : ({ type: "policy", value } as const);
  const refused = flaw === null ? null : ({ ...refusedAs(resource, object, flaw), instead: "strictest" } as const);
  return { object, content, refused, inside };
}

function readDocument(resource: OwnResource, object: KubeObject): ClusterReading<Content | null> {
  const kind = KIND_OF[resource];
  if (kind === "DestinationGroup") {
    const { value, flaw } = readClusterGroup(object.value);
    return { value: value === null ? null : { type: "group", value }, flaw };
  }
  const { value, flaw } = readClusterPolicy(kind, object.value);
  return { value: { type: "policy", value }, flaw };
}
