import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";
import { PackedEvent } from "./packed-event.ts";

/** An open flow that was allowed, with what is needed to decide it anew and to write its end. */
export interface LiveFlow {
  readonly flowId: number;
  /** The run of the agent that numbered it; absent: this one. */
  readonly run?: string;
  readonly workloadId: number;
  readonly tuple: FlowTuple;
  readonly application: FlowEvent["application"];
  readonly name: string | null;
  /** As at the decision, but ended: nothing more will be learned of a flow that the kernel carries. */
  readonly facts: Facts;
  readonly decision: Decision;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** The packet lane reads every request of it, and decides it anew itself, on its latest one. */
  readonly followed?: true;
}

export interface EndedFlow {
  readonly flow: LiveFlow;
  readonly decision: Decision;
}

export interface LiveFlowLimits {
  readonly total: number;
  readonly perWorkload: number;
}

/** What `opened` did: the flow is in the table, or is none to keep, or no room was left for it. */
export type Opened = "kept" | "not open" | "full";

/**
 * The flows that are open, so that a change of policy or label ends those that are no longer allowed. Bounded, per
 * workload too: a pod with more open flows than that is told apart from one without (`full`), and the caller decides its
 * surplus flows from what conntrack knows of them.
 */
export class LiveFlows {
  readonly #limits: LiveFlowLimits;
  readonly #flows = new Map<string, LiveFlow>();
  readonly #perWorkload = new Map<number, number>();

  constructor(limits: LiveFlowLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Takes the decision on a flow. A later decision on the same tuple replaces the earlier one; a denial removes it. */
  opened(event: FlowEvent): Opened {
    if (event.kind === "dns") return "not open";
    // A later request of a kept connection: allowed on its own facts, the flow stays as it is.
    const packed = event instanceof PackedEvent;
    if (event.kind === "request" && event.state !== "rejected" && !(packed ? event.hasFacts : event.facts !== null))
      return "not open";
    const { facts } = event;
    const key = keyOf(event.tuple);
    const before = this.#flows.get(key);
    if (before !== undefined) this.#remove(key, before);
    if (facts === null || (event.state !== "allowed" && event.state !== "http")) return "not open";
    const count = this.#perWorkload.get(event.workloadId) ?? 0;
    if (count >= this.#limits.perWorkload || this.#flows.size >= this.#limits.total) return "full";
    this.#perWorkload.set(event.workloadId, count + 1);
    this.#flows.set(key, {
      flowId: event.flowId,
      workloadId: event.workloadId,
      tuple: event.tuple,
      application: event.application,
      name: event.name,
      facts: { ...facts, namesFinal: true, ended: true },
      decision: event.decision,
      since: before !== undefined && isSame(before, event) ? before.since : event.time,
      ...(event.state === "http" ? { followed: true as const } : {}),
    });
    return "kept";
  }

  /** Takes a flow that an earlier run of the agent decided. */
  resumed(flow: LiveFlow): Opened {
    const count = this.#perWorkload.get(flow.workloadId) ?? 0;
    if (count >= this.#limits.perWorkload || this.#flows.size >= this.#limits.total) return "full";
    const key = keyOf(flow.tuple);
    if (this.#flows.has(key)) return "not open";
    this.#perWorkload.set(flow.workloadId, count + 1);
    this.#flows.set(key, flow);
    return "kept";
  }

  get(tuple: FlowTuple): LiveFlow | null {
    return this.#flows.get(keyOf(tuple)) ?? null;
  }

  /** The flow is over; returns what was known of it. */
  closed(tuple: FlowTuple): LiveFlow | null {
    const key = keyOf(tuple);
    const flow = this.#flows.get(key);
    if (flow === undefined) return null;
    this.#remove(key, flow);
    return flow;
  }

  all(): IterableIterator<LiveFlow> {
    return this.#flows.values();
  }

  /**
   * Decides every open flow that is not followed anew and returns those that must end; they leave the table. `decide` gets facts that have
   * ended, so null (not decided) is a denial too: it must not help the flow. It may keep a flow by its own decision only.
   */
  redecide(decide: (flow: LiveFlow) => Decision | null): EndedFlow[] {
    const ended: EndedFlow[] = [];
    for (const [key, flow] of this.#flows) {
      if (flow.followed) continue;
      const decision = decide(flow);
      if (decision !== null && decision.action === "Allow") {
        this.#flows.set(key, { ...flow, decision });
        continue;
      }
      this.#remove(key, flow);
      const { policy, rule } = decision ?? { policy: null, rule: null };
      ended.push({ flow, decision: { action: "Deny", policy, rule, reason: "NoLongerAllowed" } });
    }
    return ended;
  }

  #remove(key: string, flow: LiveFlow): void {
    this.#flows.delete(key);
    const left = (this.#perWorkload.get(flow.workloadId) ?? 1) - 1;
    if (left > 0) this.#perWorkload.set(flow.workloadId, left);
    else this.#perWorkload.delete(flow.workloadId);
  }
}

/** The same text for the same flow, and only for it. */
export function keyOf(tuple: FlowTuple): string {
  const { client: c, server: s } = tuple;
  return `${tuple.protocol} ${c.w0} ${c.w1} ${c.w2} ${c.w3} ${tuple.clientPort} ${s.w0} ${s.w1} ${s.w2} ${s.w3} ${tuple.serverPort}`;
}

/** Whether the event is of this flow, and not of another with the same ports. */
export function isSame(flow: LiveFlow, event: FlowEvent): boolean {
  return flow.run === undefined && flow.flowId === event.flowId;
}
