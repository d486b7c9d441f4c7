import type { IdentityTable } from "./identity.ts";
import { settleWorkloads, type WorkloadSnapshot } from "./objects.ts";
import { type Fields, type Namespace, type Pod, readNamespace, readPod } from "./pod.ts";

/** An object of the API server, which may be made anew each time it is asked for. */
export interface HeldObject {
  readonly value: Fields;
}

/** Makes workloads of the objects that an API server holds; one that has not changed since is not read again. */
export class ClusterWorkloads {
  readonly #identities: IdentityTable;
  readonly #pods = new WeakMap<Fields, Pod | string>();
  readonly #namespaces = new WeakMap<HeldObject, Namespace | string>();

  constructor(identities: IdentityTable) {
    this.#identities = identities;
  }

  /**
   * @param pods of one node
   * @param namespaceOf the object of a Namespace; undefined: it is not known yet, and neither are its pods
   * @param addressed the same pods with what somebody else knows better of their addresses
   */
  read(
    pods: Iterable<Fields>,
    namespaceOf: (name: string) => HeldObject | undefined,
    addressed: (pods: readonly Pod[]) => readonly Pod[] = (same) => same,
  ): WorkloadSnapshot {
    const problems: string[] = [];
    const read: Pod[] = [];
    const namespaces = new Map<string, Namespace>();
    for (const object of pods) {
      const pod = once(this.#pods, object, readPod);
      if (typeof pod === "string") problems.push(pod);
      else {
        read.push(pod);
        this.#namespace(pod.namespace, namespaceOf, namespaces, problems);
      }
    }
    return settleWorkloads({
      pods: addressed(read),
      namespaces,
      identities: this.#identities,
      problems,
      missing: "is not known yet: it is denied as an unknown source until then",
    });
  }

  #namespace(
    name: string,
    namespaceOf: (name: string) => HeldObject | undefined,
    namespaces: Map<string, Namespace>,
    problems: string[],
  ): void {
    if (namespaces.has(name)) return;
    const object = namespaceOf(name);
    if (object === undefined) return;
    const namespace = once(this.#namespaces, object, ({ value }) => readNamespace(value));
    if (typeof namespace === "string") problems.push(namespace);
    else namespaces.set(name, namespace);
  }
}

function once<K extends object, T extends object | string>(known: WeakMap<K, T>, object: K, read: (object: K) => T): T {
  let value = known.get(object);
  if (value === undefined) {
    value = read(object);
    known.set(object, value);
  }
  return value;
}
