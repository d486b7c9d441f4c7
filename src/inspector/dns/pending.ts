import type { FlowTuple } from "../../flow/event.ts";

/** A question that passed and waits for its answer. */
export interface Asked {
  readonly id: number;
  /** Canonical, so that a resolver or client that mixes the case (0x20) still matches. */
  readonly name: string;
  readonly type: number;
  expires: number;
}

/** How long an answer may take. Clients give up or ask again after 5 s. */
export const ANSWER_WITHIN_MS = 10_000;
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
  readonly #workloads = new Map<number, Map<string, Asked[]>>();

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  /** True: the same question of the same flow was waiting already (sent again by the client). */
  ask(workloadId: number, flow: FlowTuple, id: number, name: string, type: number, now: number): boolean {
    let flows = this.#workloads.get(workloadId);
    if (flows === undefined) {
      flows = new Map();
      this.#workloads.set(workloadId, flows);
    }
    const key = keyOf(flow, id);
    const waiting = (flows.get(key) ?? []).filter((asked) => asked.expires > now);
    const again = waiting.find((asked) => asked.name === name && asked.type === type);
    if (again !== undefined) again.expires = now + ANSWER_WITHIN_MS;
    else waiting.push({ id, name, type, expires: now + ANSWER_WITHIN_MS });
    if (waiting.length > SAME_ID) waiting.shift();
    // Behind all others: a Map keeps the order of insertion, so the oldest stands first.
    flows.delete(key);
    flows.set(key, waiting);
    dropOldest(flows, this.#limit, now);
    return again !== undefined;
  }

  /**
   * Takes the question that an answer belongs to; null: nobody asked. `name` null: the answer repeats no question (RFC 1035
   * §4.1.1 allows that with an error), and its flow and id have to do.
   */
  answered(
    workloadId: number,
    flow: FlowTuple,
    id: number,
    name: string | null,
    type: number,
    now: number,
  ): Asked | null {
    const flows = this.#workloads.get(workloadId);
    const key = keyOf(flow, id);
    const waiting = flows?.get(key);
    if (flows === undefined || waiting === undefined) return null;
    const at = waiting.findIndex(
      (asked) => asked.expires > now && (name === null || (asked.name === name && asked.type === type)),
    );
    if (at < 0) return null;
    const [asked] = waiting.splice(at, 1);
    if (waiting.length === 0) flows.delete(key);
    if (flows.size === 0) this.#workloads.delete(workloadId);
    return asked!;
  }

  /** Flows that wait for an answer. */
  count(workloadId: number): number {
    return this.#workloads.get(workloadId)?.size ?? 0;
  }

  forgetWorkload(workloadId: number): void {
    this.#workloads.delete(workloadId);
  }
}

function dropOldest(flows: Map<string, Asked[]>, limit: number, now: number): void {
  for (const [key, waiting] of flows) {
    const newest = waiting[waiting.length - 1]!;
    if (flows.size <= limit && newest.expires > now) return;
    flows.delete(key);
  }
}

function keyOf(flow: FlowTuple, id: number): string {
  const { w0, w1, w2, w3 } = flow.client;
  return `${flow.protocol} ${flow.clientPort} ${id} ${w3} ${w2} ${w1} ${w0}`;
}
