import type { FlowTuple } from "../../flow/event.ts";
import { sameAddress } from "../../net/address.ts";

/** A question that passed and waits for its answer. */
interface Asked {
  flow: FlowTuple;
  id: number;
  /** Canonical, so that a resolver or client that mixes the case (0x20) still matches. */
  name: string;
  type: number;
  expires: number;
  /** Asked before this one, with the same key. */
  sameKey: Asked | null;
  newer: Asked | null;
  older: Asked | null;
}

/** How long an answer may take. Clients give up or ask again after 5 s. */
const ANSWER_WITHIN_MS = 10_000;
/** Questions of one flow under one id: honest clients have one. */
const SAME_ID = 4;

/**
 * Questions without an answer, by workload and flow. Only what stands here may be answered: an answer that was not asked for
 * is how one pod would plant names on another (EVASION 50). Bounded per workload; the oldest goes, so a pod that floods
 * loses its own answers. The server's address is no part of the key: on UDP the question is seen before
 * translation and the answer behind it; that it comes from the resolver is what conntrack says.
 */
export class PendingQuestions {
  readonly #limit: number;
  readonly #workloads = new Map<number, Waiting>();

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  /** True: the same question of the same flow was waiting already (sent again by the client). */
  ask(workloadId: number, flow: FlowTuple, id: number, name: string, type: number, now: number): boolean {
    let waiting = this.#workloads.get(workloadId);
    if (waiting === undefined) {
      waiting = new Waiting();
      this.#workloads.set(workloadId, waiting);
    }
    return waiting.ask(flow, id, name, type, now, this.#limit);
  }

  /**
   * Takes the question that an answer belongs to, and says its name; null: nobody asked. `name` null: the answer repeats no question (RFC 1035
   * §4.1.1 allows that with an error), and its flow and id have to do.
   */
  answered(
    workloadId: number,
    flow: FlowTuple,
    id: number,
    name: string | null,
    type: number,
    now: number,
  ): string | null {
    return this.#workloads.get(workloadId)?.take(flow, id, name, type, now) ?? null;
  }

  forgetWorkload(workloadId: number): void {
    this.#workloads.delete(workloadId);
  }
}

/** Those of one workload: by key, and in a list by when they were asked. Room is used again. */
class Waiting {
  #count = 0;
  /** The one asked last under each key. */
  readonly #byKey = new Map<number, Asked>();
  #newest: Asked | null = null;
  #oldest: Asked | null = null;
  #free: Asked | null = null;

  ask(flow: FlowTuple, id: number, name: string, type: number, now: number, limit: number): boolean {
    while (this.#oldest !== null && this.#oldest.expires <= now) this.#removeOldest();
    const key = keyOf(flow, id);
    const expires = now + ANSWER_WITHIN_MS;
    let ofFlow = 0;
    let first: Asked | null = null;
    for (let asked = this.#byKey.get(key) ?? null; asked !== null; asked = asked.sameKey) {
      if (!isOf(asked, flow)) continue;
      if (asked.name === name && asked.type === type) {
        asked.expires = expires;
        this.#unlink(asked);
        this.#append(asked);
        return true;
      }
      ofFlow++;
      first = asked;
    }
    if (ofFlow >= SAME_ID) this.#remove(first!, key);
    this.#add(key, flow, id, name, type, expires);
    if (this.#count > limit) this.#removeOldest();
    return false;
  }

  /** The oldest that fits. */
  take(flow: FlowTuple, id: number, name: string | null, type: number, now: number): string | null {
    const key = keyOf(flow, id);
    let found: Asked | null = null;
    for (let asked = this.#byKey.get(key) ?? null; asked !== null; asked = asked.sameKey) {
      if (asked.expires <= now || !isOf(asked, flow)) continue;
      if (name === null || (asked.name === name && asked.type === type)) found = asked;
    }
    if (found === null) return null;
    const answered = found.name;
    this.#remove(found, key);
    return answered;
  }

  #add(key: number, flow: FlowTuple, id: number, name: string, type: number, expires: number): void {
    let asked = this.#free;
    const sameKey = this.#byKey.get(key) ?? null;
    if (asked === null) asked = { flow, id, name, type, expires, sameKey, newer: null, older: null };
    else {
      this.#free = asked.older;
      asked.flow = flow;
      asked.id = id;
      asked.name = name;
      asked.type = type;
      asked.expires = expires;
      asked.sameKey = sameKey;
    }
    this.#byKey.set(key, asked);
    this.#append(asked);
    this.#count++;
  }

  #append(asked: Asked): void {
    asked.newer = null;
    asked.older = this.#newest;
    if (this.#newest === null) this.#oldest = asked;
    else this.#newest.newer = asked;
    this.#newest = asked;
  }

  #remove(asked: Asked, key: number): void {
    this.#unlink(asked);
    const last = this.#byKey.get(key)!;
    if (last !== asked) {
      let before = last;
      while (before.sameKey !== asked) before = before.sameKey!;
      before.sameKey = asked.sameKey;
    } else if (asked.sameKey === null) this.#byKey.delete(key);
    else this.#byKey.set(key, asked.sameKey);
    asked.newer = asked.sameKey = null;
    asked.older = this.#free;
    this.#free = asked;
    this.#count--;
  }

  #removeOldest(): void {
    const { flow, id } = this.#oldest!;
    this.#remove(this.#oldest!, keyOf(flow, id));
  }

  #unlink(asked: Asked): void {
    if (asked.newer === null) this.#newest = asked.older;
    else asked.newer.older = asked.older;
    if (asked.older === null) this.#oldest = asked.newer;
    else asked.older.newer = asked.newer;
  }
}

/** Several flows may share one: pods have few addresses, and ask from ports of their choice. */
function keyOf({ clientPort }: FlowTuple, id: number): number {
  return (clientPort << 16) | id;
}

/** Of the flow, where port and id are known to be the same. */
function isOf(asked: Asked, flow: FlowTuple): boolean {
  return asked.flow.protocol === flow.protocol && sameAddress(asked.flow.client, flow.client);
}
