/**
 * Gives workloads their ids: the same for the same pod, never one that was given before. Everything learned of a workload is
 * keyed by its id, so a pod that comes under an old name, or at an old address, starts with nothing (DESIGN §4.6).
 */
export class IdentityTable {
  readonly #ids = new Map<string, number>();
  readonly #keys = new Map<number, string>();
  readonly #capacity: number;
  #last = 0;

  /** @param capacity pods remembered; the longest unseen are forgotten first. Keep it well above the pods of a cluster. */
  constructor(capacity = 500_000) {
    this.#capacity = capacity;
  }

  /** The id of a pod, from 1. `uid` may be empty (a document written by hand): then namespace, name and time of creation stand for it. */
  idOf(pod: {
    readonly uid: string;
    readonly namespace: string;
    readonly name: string;
    readonly created: string;
  }): number {
    const key = pod.uid !== "" ? pod.uid : `${pod.namespace}/${pod.name}/${pod.created}`;
    const known = this.#ids.get(key);
    const id = known ?? ++this.#last;
    // Moved to the end: the map is in order of last sight.
    if (known !== undefined) this.#ids.delete(key);
    this.#ids.set(key, id);
    this.#keys.set(id, key);
    if (this.#ids.size > this.#capacity) this.#forgetOldest();
    return id;
  }

  /** What names the pod of an id also in another run of the agent; null: no pod has the id, or it is forgotten. */
  keyOf(id: number): string | null {
    return this.#keys.get(id) ?? null;
  }

  #forgetOldest(): void {
    const [key, id] = this.#ids.entries().next().value!;
    this.#ids.delete(key);
    this.#keys.delete(id);
  }
}
