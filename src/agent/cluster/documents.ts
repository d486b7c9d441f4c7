import { generationOf, type Hold, type KubeObject } from "../../kube/object.ts";
import type { DestinationGroup, Policy, StandardKind } from "../../model/policy.ts";
import { type Flaw, readClusterGroup, readClusterPolicy } from "../../policy/cluster-reading.ts";
import { PackedPolicy, type PolicyPacking, Subjects } from "../../policy/packed-policy.ts";
import { type TextPacker, TextPacking } from "../../policy/packed-texts.ts";
import { RulesAtHand } from "../../policy/rules-at-hand.ts";
import type { Kind } from "../../policy/schema.ts";
import { readStandardPolicy } from "../../policy/standard/reading.ts";
import { concerning, type DocumentLists, listsOf, type NodeDocuments } from "./document-lists.ts";
import { type ObjectPacking, type Packed, PackedObject } from "./packed-objects.ts";
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

/** What is made of an object: one of them, or neither. */
interface Content {
  readonly policy: Policy | null;
  readonly group: DestinationGroup | null;
}

interface Entry extends ListedObject, Content {}

/** An object as it is written, whatever it said before. */
interface Reading extends Content {
  readonly flaw: Flaw | null;
  readonly inside: readonly string[];
}

/** An object that could be read. */
interface Good extends Content {
  readonly object: KubeObject;
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
  readonly #entries = new Map<DocumentResource, Map<string, Entry>>(POLICY_RESOURCES.map((name) => [name, new Map()]));
  /** Of objects that now are bad, what they said when they could be read; by resource and key. */
  readonly #good = new Map<string, Good>();
  readonly #packing: PolicyPacking | null;
  readonly #refused = new Map<string, Refused>();
  #lists: DocumentLists | null = null;
  #concerning: { readonly namespaces: ReadonlySet<string>; readonly documents: NodeDocuments } | null = null;

  /** `packer`: policies are to take little memory, and time when their rules are asked for. */
  constructor(packer: TextPacker | null = null) {
    this.#packing = packer === null ? null : packingOf(packer);
  }

  /**
   * How objects of a resource are held: packed, and read at once. So the reading of thousands is no turn of its own, and none of them
   * has to be made anew for it.
   */
  reading(resource: DocumentResource, packing: ObjectPacking): Hold {
    return (object) => new ReadObject(object, packing.pack(object), this.#packed(readAs(resource, object)));
  }

  /** What could be read last, before a restart. */
  remember(good: Iterable<KubeObject>): void {
    for (const object of good) {
      const slash = object.key.indexOf("/");
      const resource = OWN_RESOURCES.find((name) => name === object.key.slice(0, slash));
      if (resource === undefined) continue;
      const one = { ...object, key: object.key.slice(slash + 1) };
      const { policy, group, flaw } = readAs(resource, one);
      if (flaw === null) this.#good.set(object.key, { object: one, policy, group });
    }
  }

  /** What has to be remembered beside the objects themselves: the good versions of those that now are bad. */
  get remembered(): readonly KubeObject[] {
    return [...this.#good].flatMap(([id, { object }]) => {
      const slash = id.indexOf("/");
      const entry = this.#entries.get(id.slice(0, slash) as DocumentResource)?.get(id.slice(slash + 1));
      return entry?.refused?.instead === "last-good" ? [{ key: id, uid: object.uid, value: object.value }] : [];
    });
  }

  /**
   * Reads the objects of a resource as they are now; those that are the same objects as before cost nothing. `changed`: the keys of all that may
   * have changed since; default: all.
   */
  take(
    resource: DocumentResource,
    objects: ReadonlyMap<string, KubeObject>,
    changed: Iterable<string> = [...this.#entries.get(resource)!.keys(), ...objects.keys()],
  ): void {
    const entries = this.#entries.get(resource)!;
    let any = false;
    for (const key of changed) {
      const object = objects.get(key);
      const before = entries.get(key);
      if (before?.object === object) continue;
      any = true;
      const entry = object === undefined ? null : this.#read(resource, object, before);
      this.#set(resource, key, entry);
    }
    if (!any) return;
    this.#lists = null;
    this.#concerning = null;
    this.#packing?.atHand.changed();
    if (this.#packing?.rules.isWasteful) this.#packing.rules.moveTogether(this.#packedPolicies());
  }

  #set(resource: DocumentResource, key: string, entry: Entry | null): void {
    const id = `${resource}/${key}`;
    const entries = this.#entries.get(resource)!;
    if (entry === null) {
      entries.delete(key);
      this.#good.delete(id);
    } else entries.set(key, entry);
    if (entry === null || entry.refused === null) this.#refused.delete(id);
    else this.#refused.set(id, entry.refused);
  }

  get policies(): readonly Policy[] {
    return this.#known.policies;
  }

  get groups(): readonly DestinationGroup[] {
    return this.#known.groups;
  }

  /** All that is known of them. */
  get listing(): readonly ListedObject[] {
    return this.#known.listing;
  }

  /** Those of the policies and groups; of the AgentConfig its reader tells. */
  get refused(): readonly Refused[] {
    return [...this.#refused.values()];
  }

  /** What concerns a node with pods in these namespaces; the same object for as long as neither they nor the documents change. */
  concerning(namespaces: ReadonlySet<string>): NodeDocuments {
    const known = this.#concerning;
    const same = known !== null && known.namespaces.size === namespaces.size && isWithin(namespaces, known.namespaces);
    if (same) return known.documents;
    const documents = concerning(this.#all(), namespaces);
    this.#concerning = { namespaces, documents };
    return documents;
  }

  /** Lets rules take as little memory as they can. */
  putAway(): void {
    this.#packing?.rules.putAway();
  }

  get #known(): DocumentLists {
    this.#lists ??= listsOf([...this.#all()]);
    return this.#lists;
  }

  *#all(): Generator<Entry> {
    for (const entries of this.#entries.values()) yield* entries.values();
  }

  *#packedPolicies(): Generator<PackedPolicy> {
    const policies = new Set([...this.#all(), ...this.#good.values()].map(({ policy }) => policy));
    for (const policy of policies) if (policy instanceof PackedPolicy) yield policy;
  }

  #read(resource: DocumentResource, object: KubeObject, before: Entry | undefined): Entry {
    const kind = DOCUMENT_KINDS[resource];
    const { key, uid } = object;
    const read = object instanceof ReadObject ? object.takeReading() : null;
    const { policy, group, flaw, inside } = read ?? this.#packed(readAs(resource, object));
    const id = `${resource}/${key}`;
    if (flaw === null) {
      this.#good.delete(id);
      return { kind, object, policy, group, refused: null, inside };
    }
    const refused = refusedAs(kind, object, flaw);
    const instead = policy === null && group === null ? "nothing" : "strictest";
    const asItIs = { kind, object, policy, group, refused: { ...refused, instead }, inside } as const;
    if (isStandard(resource)) return asItIs;
    const good = before?.refused === null ? before : this.#good.get(id);
    if (good?.object.uid !== uid) {
      this.#good.delete(id);
      return asItIs;
    }
    const was = { policy: good.policy, group: good.group };
    this.#good.set(id, { object: good.object, ...was });
    return refused.reason === "Invalid" ? { ...asItIs, ...was, refused: { ...refused, instead: "last-good" } } : asItIs;
  }

  #packed(reading: Reading): Reading {
    const { policy } = reading;
    if (policy === null || this.#packing === null) return reading;
    return { ...reading, policy: new PackedPolicy(policy, this.#packing) };
  }
}

/** An object with what was read of it, until that is taken. */
class ReadObject extends PackedObject {
  #reading: Reading | null;

  constructor(object: KubeObject, packed: Packed, reading: Reading) {
    super(object, packed);
    this.#reading = reading;
  }

  takeReading(): Reading | null {
    const reading = this.#reading;
    this.#reading = null;
    return reading;
  }
}

function packingOf(packer: TextPacker): PolicyPacking {
  return { rules: new TextPacking(packer, true), subjects: new Subjects(), atHand: new RulesAtHand() };
}

function isWithin(some: ReadonlySet<string>, all: ReadonlySet<string>): boolean {
  for (const one of some) if (!all.has(one)) return false;
  return true;
}

function isStandard(resource: DocumentResource): resource is StandardResource {
  return Object.hasOwn(STANDARD_KIND_OF, resource);
}

function refusedAs(kind: Refused["kind"], object: KubeObject, { reason, message }: Flaw) {
  const { key, uid } = object;
  return { kind, key, uid, generation: generationOf(object), reason, problem: message };
}

function readAs(resource: DocumentResource, object: KubeObject): Reading {
  const { value: said } = object;
  if (isStandard(resource)) {
    const { value, flaw, inside } = readStandardPolicy(STANDARD_KIND_OF[resource], said);
    return { policy: value, group: null, flaw, inside };
  }
  const kind = KIND_OF[resource];
  if (kind === "DestinationGroup") {
    const { value, flaw } = readClusterGroup(said);
    return { policy: null, group: value, flaw, inside: NOTHING_INSIDE };
  }
  const { value, flaw } = readClusterPolicy(kind, said);
  return { policy: value, group: null, flaw, inside: NOTHING_INSIDE };
}
