import { type Fields, fields, type KubeObject } from "../../kube/object.ts";
import type { DestinationGroup, Policy } from "../../model/policy.ts";
import { type Content, readObjects } from "../../policy/reading.ts";
import { API_VERSION, type Kind } from "../../policy/schema.ts";
import { KIND_OF, type KindResource } from "./resources.ts";

/** An object of the API server, and what is made of it here. */
export interface ListedObject {
  readonly kind: Kind;
  readonly object: KubeObject;
  /** What is in force of it, or in its place; null: nothing, or it is no policy. */
  readonly policy: Policy | null;
  readonly refused: Refused | null;
}

/** What stands in the place of a policy that cannot be read. */
const STAND_IN_RULES = [{ name: "unreadable", action: "Deny" }];

/** An object that cannot be used as it is written. */
export interface Refused {
  readonly kind: Kind;
  readonly key: string;
  readonly uid: string;
  readonly generation: number;
  /** One line. */
  readonly problem: string;
  /** What is in force instead: what it said before; a denial of all to whom it selects; or nothing. */
  readonly instead: "last-good" | "deny" | "nothing";
}

interface Entry {
  readonly object: KubeObject;
  readonly content: Content | null;
  readonly refused: Refused | null;
}

const KINDS = ["clusteregresspolicies", "egresspolicies", "destinationgroups"] as const;

/**
 * Reads the documents that an API server holds. Bad input never replaces what runs: an object that cannot be read any more stays
 * what it was, for as long as it is the same object. A policy that never could be read denies all to whom it selects,
 * for leaving it out might open what it is to close.
 */
export class ClusterDocuments {
  readonly #entries = new Map<string, Entry>();
  /** Of objects that could be read, by kind and key. */
  readonly #good = new Map<string, { readonly object: KubeObject; readonly content: Content }>();

  /** What could be read last, before a restart. */
  remember(good: Iterable<KubeObject>): void {
    for (const object of good) {
      const slash = object.key.indexOf("/");
      const resource = object.key.slice(0, slash) as KindResource;
      if (!Object.hasOwn(KIND_OF, resource)) continue;
      const one = { ...object, key: object.key.slice(slash + 1) };
      const { content } = readDocument(KIND_OF[resource], one.value);
      if (content !== null) this.#good.set(object.key, { object: one, content });
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
  take(resource: KindResource, objects: ReadonlyMap<string, KubeObject>): void {
    const prefix = `${resource}/`;
    for (const id of this.#entries.keys()) {
      if (!id.startsWith(prefix) || objects.has(id.slice(prefix.length))) continue;
      this.#entries.delete(id);
      this.#good.delete(id);
    }
    for (const [key, object] of objects) {
      const id = prefix + key;
      if (this.#entries.get(id)?.object !== object) this.#entries.set(id, this.#read(id, KIND_OF[resource], object));
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

  #read(id: string, kind: Kind, object: KubeObject): Entry {
    const { content, problem } = readDocument(kind, object.value);
    if (content !== null) {
      this.#good.set(id, { object, content });
      return { object, content, refused: null };
    }
    const { generation } = fields(object.value["metadata"]);
    const { key, uid } = object;
    const refused = { kind, key, uid, generation: typeof generation === "number" ? generation : 0, problem };
    const good = this.#good.get(id);
    if (good?.object.uid === uid) {
      return { object, content: good.content, refused: { ...refused, instead: "last-good" } };
    }
    this.#good.delete(id);
    const standIn = standInFor(kind, object.value);
    return { object, content: standIn, refused: { ...refused, instead: standIn === null ? "nothing" : "deny" } };
  }
}

export const POLICY_RESOURCES: readonly KindResource[] = KINDS;

/** `problem`: one line, empty where nothing is wrong. */
export function readDocument(
  kind: Kind,
  value: Fields,
): { readonly content: Content | null; readonly problem: string } {
  const [read] = readObjects({ ...value, apiVersion: API_VERSION, kind });
  const problem = read?.faults.map(({ message, path }) => `${path.join(".")}: ${message}`).join("; ") ?? "not read";
  return { content: read?.content ?? null, problem: problem.slice(0, 1000) };
}

/**
 * A policy that selects whom the unreadable one does, and denies them everything. Fields that cannot be read are left to their
 * defaults; if that is the subject of a policy of the whole cluster, whom it means is not for us to guess: null.
 */
function standInFor(kind: Kind, { metadata, spec }: Fields): Content | null {
  if (kind !== "ClusterEgressPolicy" && kind !== "EgressPolicy") return null;
  const { tier, priority, mode, subject = {} } = fields(spec);
  const cluster = kind === "ClusterEgressPolicy";
  const closed = { defaultDeny: true, rules: STAND_IN_RULES };
  const exact = { ...(cluster ? { tier } : {}), ...defined({ priority, mode }), ...closed, subject };
  const first = { ...(cluster ? { tier: "Admin" } : {}), priority: 0, ...closed, subject };
  const tries = cluster ? [exact, first] : [exact, first, { ...first, subject: {} }];
  for (const one of tries) {
    const { content } = readDocument(kind, { metadata, spec: one });
    if (content !== null) return content;
  }
  return null;
}

function defined(value: Fields): Fields {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
}
