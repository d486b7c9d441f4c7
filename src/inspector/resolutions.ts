import type { Judged } from "./judge.ts";

interface Pending {
  readonly id: number;
  readonly workloadId: number;
  readonly key: string;
  readonly names: readonly string[];
  readonly waiting: Judged[];
  counted: boolean;
}

const FRESH_FOR = 5000;
const MOST_REMEMBERED = 8192;

/**
 * Questions to the agent's own resolver. A pod must not be able to make the agent ask without end: flows that want the
 * same names share one question, and a name that was just asked is not asked again for a few seconds.
 */
export class Resolutions {
  #pending = new Map<number, Pending>();
  #byKey = new Map<string, Pending>();
  #asked = new Map<string, number>();
  #nextId = 1;

  /** A question of this workload for these names that is already under way; the flow waits for it too. */
  join(flow: Judged, names: readonly string[]): boolean {
    const pending = this.#byKey.get(keyOfNames(flow.workloadId, names));
    if (pending === undefined) return false;
    pending.waiting.push(flow);
    flow.resolving = pending.id;
    return true;
  }

  begin(flow: Judged, names: readonly string[]): number {
    const key = keyOfNames(flow.workloadId, names);
    const pending = { id: this.#nextId++, workloadId: flow.workloadId, key, names, waiting: [flow], counted: true };
    this.#pending.set(pending.id, pending);
    this.#byKey.set(key, pending);
    flow.resolving = pending.id;
    return pending.id;
  }

  /** The answer came: who waited for it. Null: nobody asked, or it was answered already. */
  finish(id: number, now: number): Pending | null {
    const pending = this.#pending.get(id);
    if (pending === undefined) return null;
    this.#pending.delete(id);
    if (this.#byKey.get(pending.key) === pending) this.#byKey.delete(pending.key);
    for (const name of pending.names) this.#remember(pending.workloadId, name, now);
    return pending;
  }

  /** Nobody waits any longer; a late answer is still learned. True: the caller gives back the workload's slot. */
  giveUp(id: number): boolean {
    const pending = this.#pending.get(id);
    if (pending === undefined || !pending.counted) return false;
    pending.counted = false;
    this.#byKey.delete(pending.key);
    if (this.#pending.size > MOST_REMEMBERED) this.#pending.delete(this.#pending.keys().next().value!);
    return true;
  }

  askedLately(workloadId: number, name: string, now: number): boolean {
    const at = this.#asked.get(`${workloadId}/${name}`);
    return at !== undefined && now - at < FRESH_FOR;
  }

  #remember(workloadId: number, name: string, now: number): void {
    const key = `${workloadId}/${name}`;
    this.#asked.delete(key);
    this.#asked.set(key, now);
    if (this.#asked.size > MOST_REMEMBERED) this.#asked.delete(this.#asked.keys().next().value!);
  }
}

function keyOfNames(workloadId: number, names: readonly string[]): string {
  return `${workloadId}/${names.join("/")}`;
}
