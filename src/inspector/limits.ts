import type { Limits } from "../model/config.ts";

/** What one workload uses of its bounds right now. */
export interface Use {
  looking: number;
  held: number;
  bytes: number;
  resolving: number;
}

/** Reassembly of one flow: the largest hello and its record headers; on HTTP flows the largest head. */
export const FLOW_BYTES = 80 * 1024;
/** Unknown sources are not yet workloads, so they share one bound: packets held for all of them together. */
export const UNKNOWN_HELD = 256;
/** Held segments of an HTTP flow that wait for an earlier one. */
export const OUT_OF_ORDER = 64;
/** How much of an undecided hello is held back before the oldest packet goes on (docs/adr/0006-held-hellos.md). */
export const HELD_PACKETS = 8;
export const HELD_BYTES = 12 * 1024;
/** Milliseconds without a new byte after which a held hello goes on piecewise. */
export const STALL = 100;
/** Milliseconds that a packet waits for the agent's own resolver. */
export const RESOLVE_WAIT = 1000;
/** Datagrams of one undecided flow that wait together. */
export const HELD_DATAGRAMS = 8;

/**
 * Bounds are counted per workload: one that floods is refused at its own bound and takes nothing from another
 * (DESIGN §4.8). An entry goes when nothing is used any more, so the map is as large as the set of busy workloads.
 */
export class WorkloadUse {
  #uses = new Map<number, Use>();
  #recorded = new Map<number, number>();
  limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  of(workloadId: number): Use {
    let use = this.#uses.get(workloadId);
    if (use === undefined) {
      use = { looking: 0, held: 0, bytes: 0, resolving: 0 };
      this.#uses.set(workloadId, use);
    }
    return use;
  }

  mayLook(workloadId: number): boolean {
    return this.of(workloadId).looking < this.limits.lookingFlows;
  }

  mayHold(workloadId: number): boolean {
    return this.of(workloadId).held < this.limits.heldPackets;
  }

  mayKeep(workloadId: number, bytes: number): boolean {
    return this.of(workloadId).bytes + bytes <= this.limits.reassemblyBytes;
  }

  mayResolve(workloadId: number): boolean {
    return this.of(workloadId).resolving < this.limits.resolutions;
  }

  /**
   * Records of packets without a flow (malformed, in mid-flow) cost a pod nothing to cause: one a second for each workload.
   * The counters tell the rest.
   */
  mayRecord(workloadId: number, now: number): boolean {
    const last = this.#recorded.get(workloadId);
    if (last !== undefined && now - last < 1000) return false;
    this.#recorded.set(workloadId, now);
    return true;
  }

  forget(workloadId: number): void {
    this.#recorded.delete(workloadId);
    this.settle(workloadId);
  }

  /** Called when a flow leaves; keeps the map small. */
  settle(workloadId: number): void {
    const use = this.#uses.get(workloadId);
    if (use === undefined) return;
    if (use.looking <= 0 && use.held <= 0 && use.bytes <= 0 && use.resolving <= 0) this.#uses.delete(workloadId);
  }
}
