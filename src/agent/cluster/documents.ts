import { generationOf, type KubeObject } from "../../kube/object.ts";
import type { DestinationGroup, Policy } from "../../model/policy.ts";
import { type ClusterReading, type Flaw, readClusterGroup, readClusterPolicy } from "../../policy/cluster-reading.ts";
import type { Kind } from "../../policy/schema.ts";
import { KIND_OF, type KindResource } from "./resources.ts";

/** An object of the API server, and what is made of it here. */
export interface ListedObject {
  readonly kind: Kind;
  readonly object: KubeObject;
  /** What is in force of it, or in its place; null: nothing, or it is no policy. */
  readonly policy: Policy | null;
  readonly refused: Refused | null;
}

/** An object that cannot be used as it is written. */
export interface Refused {
  readonly kind: Kind;
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
}

export type DocumentResource = Exclude<KindResource, "agentconfigs">;

export const POLICY_RESOURCES: readonly DocumentResource[] = [
  "clusteregresspolicies",
  "egresspolicies",
  "destinationgroups",
];

/**
 * Reads the documents that an API server holds. Bad input never replaces what runs: an object that is wrong stays what it was, for as
 * long as it is the same object. One that never was right, and one that was written for a newer agent, is read as the strictest that it
 * may mean (policy/cluster-reading): what it said before may be looser than what it says.
 */
export class ClusterDocuments {
  readonly #entries = new Map<string, Entry>();
  /** Of objects that could be read, by kind and key. */
  readonly #good = new Map<string, { readonly object: KubeObject; readonly content: Content }>();

  /** What could be read last, before a restart. */
  remember(good: Iterable<KubeObject>): void {
    for (const object of good) {
      const slash = object.key.indexOf("/");
      const resource = POLICY_RESOURCES.find((name) => name === object.key.slice(0, slash));
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
    return [...this.#entries].map(([id, { object, content, refused }]) => {
      const kind = KIND_OF[id.slice(0, id.indexOf("/")) as KindResource];
      return { kind, object, policy: content?.type === "policy" ? content.value : null, refused };
    });
  }

  #contents(): Content[] {
    return [...this.#entries.values()].flatMap(({ content }) => content ?? []);
  }

  #read(id: string, resource: DocumentResource, object: KubeObject): Entry {
    const { value, flaw } = readDocument(resource, object);
    if (flaw === null && value !== null) {
      this.#good.set(id, { object, content: value });
      return { object, content: value, refused: null };
    }
    const { key, uid } = object;
    const { reason, message } = flaw ?? { reason: "Invalid" as const, message: "not read" };
    const about = { kind: KIND_OF[resource], key, uid, generation: generationOf(object) };
    const refused = { ...about, reason, problem: message };
    const good = this.#good.get(id);
    if (good?.object.uid !== uid) this.#good.delete(id);
    else if (reason === "Invalid") {
      return { object, content: good.content, refused: { ...refused, instead: "last-good" } };
    }
    return { object, content: value, refused: { ...refused, instead: value === null ? "nothing" : "strictest" } };
  }
}

function readDocument(resource: DocumentResource, object: KubeObject): ClusterReading<Content | null> {
  const kind = KIND_OF[resource];
  if (kind === "DestinationGroup") {
    const { value, flaw } = readClusterGroup(object.value);
    return { value: value === null ? null : { type: "group", value }, flaw };
  }
  const { value, flaw } = readClusterPolicy(kind, object.value);
  return { value: { type: "policy", value }, flaw };
}
