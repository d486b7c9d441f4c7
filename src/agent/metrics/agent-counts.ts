import type { Inputs } from "../state.ts";
import { DecisionCounts } from "./decision-counts.ts";

export type Phase = "starting" | "enforcing" | "stopping";

/** What the agent says about its own course: how far it is, how its changes went, what was decided. */
export class AgentCounts {
  readonly startedAt = Date.now();
  readonly decisions = new DecisionCounts();
  phase: Phase = "starting";
  applied = 0;
  applyFailures = 0;
  /** Why what was asked for last is not enforced; null: it is, or will be in a moment. */
  applyFailure: string | null = null;
  lastApplySeconds = 0;
  /** Milliseconds since the epoch. */
  lastAppliedAt = 0;
  recordsLostOnTheWay = 0;
  /** Of flows that the kernel opened by itself. */
  recordsLostInKernel = 0;
  endingsLost = 0;
  /** Called with what is in force, as soon as lane and kernel have it. */
  onInForce: (inputs: Inputs) => void = () => undefined;
  #applyingSince = 0;

  constructor(inputs: Inputs) {
    this.decisions.setPolicies(inputs.policies);
  }

  /** Enforcement is complete. */
  started(): void {
    this.phase = "enforcing";
    this.lastAppliedAt = Date.now();
  }

  /** Records of flows that were lost on their way: between kernel and lane, or between lane and main thread. */
  lost(count: number, where: "ring" | "kernel"): void {
    if (where === "ring") this.recordsLostOnTheWay += count;
    else this.recordsLostInKernel += count;
  }

  /** Records that never came to the flow log. */
  get recordsLost(): number {
    return this.recordsLostOnTheWay + this.recordsLostInKernel;
  }

  /** Seconds that the change under way takes by now; 0 when there is none. */
  get applyingSeconds(): number {
    return this.#applyingSince === 0 ? 0 : (performance.now() - this.#applyingSince) / 1000;
  }

  /** Does the work that makes `inputs` the ones enforced, and keeps account of it. Rejects as the work does. */
  async apply(inputs: Inputs, work: () => Promise<void>): Promise<void> {
    const started = performance.now();
    this.#applyingSince = started;
    try {
      this.decisions.setPolicies(inputs.policies);
      await work();
      this.applyFailure = null;
      this.applied++;
      this.lastAppliedAt = Date.now();
      this.onInForce(inputs);
    } catch (error) {
      this.applyFailures++;
      this.applyFailure = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.lastApplySeconds = (performance.now() - started) / 1000;
      this.#applyingSince = 0;
    }
  }
}
