import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import { isSame, keyOf, type LiveFlow, LiveFlows } from "../flow/live-flows.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import { type MarkLayout, stateOf } from "../kernel/marks.ts";
import type { Decision } from "../model/decision.ts";
import { STATE } from "../model/verdict.ts";
import type { Address } from "../net/address.ts";
import type { Program } from "../program/program.ts";
import type { FlowEnder } from "./endings.ts";
import { decideSurplus, type ExistingFlow, type ExistingFlows } from "./existing-flows.ts";
import { endingOf, type FlowEnding } from "./flow-ending.ts";
import type { FlowLog } from "./flow-log.ts";
import type { Journal } from "./journal/journal.ts";
import { type Logger, RateLimit } from "./log.ts";
import { REMEMBERED, redecide } from "./state.ts";

const LIMITS = { total: 1_000_000, perWorkload: 65_536 };
/** The ending of an entry may come behind the decision on the next flow with the same ports, by no more than this. */
const YOUNG_MS = 5_000;

export interface OpenFlowsOptions {
  readonly conntrack: Conntrack;
  readonly ender: FlowEnder;
  readonly marks: MarkLayout;
  readonly flowLog: FlowLog;
  readonly journal: Pick<Journal, "opened" | "closed">;
  readonly log: Logger;
  readonly limits?: typeof LIMITS;
}

/** The flows that are open on this node: decides them anew at every change, ends them, and writes the records of both. */
export class OpenFlows {
  readonly #options: OpenFlowsOptions;
  readonly #live: LiveFlows;
  readonly #full = new RateLimit(10_000);
  /** Some flows found no room: they are decided on what conntrack tells of them. */
  #surplus = false;
  #handedOver = false;

  constructor(options: OpenFlowsOptions) {
    this.#options = options;
    this.#live = new LiveFlows(options.limits ?? LIMITS);
  }

  get size(): number {
    return this.#live.size;
  }

  all(): Iterable<LiveFlow> {
    return this.#live.all();
  }

  /** A decision of the lane. */
  onEvent(event: FlowEvent): void {
    const { flowLog, journal, log } = this.#options;
    const before = event.kind !== "dns" && event.state === "rejected" ? this.#live.get(event.tuple) : null;
    const opened = this.#live.opened(event);
    if (opened === "kept") journal.opened(this.#live.get(event.tuple)!);
    else if (before !== null) journal.closed(event.tuple);
    if (opened === "full") {
      this.#surplus = true;
      const suppressed = this.#full.allow(performance.now());
      if (suppressed !== null)
        log.warn(
          { event: "live-flows-full", suppressed },
          "too many open flows to follow: at the next change those beyond stay only where their address alone is allowed",
        );
    }
    flowLog.event(event);
    if (before !== null && isSame(before, event)) this.#lastWords(before);
  }

  /** Decisions were lost on the way: flows may be open that are not followed. */
  missed(): void {
    this.#surplus = true;
  }

  /** Takes what was there before this agent. `before`: what was to end when the rules were not there yet. */
  adopt(settled: ExistingFlows, before: readonly ExistingFlow[]): void {
    const { ender, flowLog } = this.#options;
    for (const { flow, workloadId, facts, decision, memory } of settled.kept) {
      // The lane has been giving verdicts for a while: what it decided counts.
      if (this.#live.get(flow) !== null) continue;
      const opened =
        memory === null
          ? this.#live.opened(existingEvent(flow, workloadId, facts, decision))
          : this.#live.resumed({ ...memory, decision });
      if (opened === "full") this.#surplus = true;
    }
    // A busy flow has met the rules since, and bears their mark by now.
    const toEnd = new Map([...before, ...settled.ended].map((one) => [keyOf(one.flow), one]));
    for (const { flow, workloadId, decision, memory } of toEnd.values()) {
      if (memory !== null) this.#endByPolicy(memory, decision);
      else {
        ender.end(flow);
        flowLog.event({ ...existingEvent(flow, workloadId, null, decision), state: "rejected" });
      }
    }
  }

  /**
   * Takes a flow that the agent before this one decided last. What this one decided itself of a flow with the same ports is
   * newer. One that conntrack does not know any more has ended: its end is for the other to tell.
   */
  inherit(flow: LiveFlow): void {
    const known = this.#live.get(flow.tuple);
    if (known !== null && known.run === undefined && known.decision !== REMEMBERED) return;
    if (this.#options.ender.find(flow.tuple) === null) return;
    if (known !== null) this.#live.closed(flow.tuple);
    const opened = this.#live.resumed(flow);
    if (opened === "kept") this.#options.journal.opened(flow);
    else if (opened === "full") this.#surplus = true;
  }

  /** The agent before this one has cut or seen the end of a flow that it had decided. */
  inheritEnd(tuple: FlowTuple): void {
    const known = this.#live.get(tuple);
    if (known === null || known.run === undefined) return;
    this.#live.closed(tuple);
    this.#options.journal.closed(tuple);
  }

  /** Another agent follows all that is open by now. What is decided here from now on is told here, but for what that one ends. */
  handOver(): void {
    this.#handedOver = true;
    for (const { tuple } of [...this.#live.all()]) this.#live.closed(tuple);
  }

  /** Decides everything anew and ends what is no longer allowed. Returns how many that were. */
  redecide(program: Program): number {
    const { ender, flowLog, journal, conntrack, marks } = this.#options;
    const ended = this.#live.redecide((flow) => redecide(program, flow));
    for (const { flow, decision } of ended) {
      journal.closed(flow.tuple);
      this.#endByPolicy(flow, decision);
    }
    if (!this.#surplus) return ended.length;
    const surplus = decideSurplus(conntrack, program, marks, (flow) => this.#live.get(flow) !== null);
    this.#surplus = surplus.kept > 0;
    for (const { flow, workloadId, decision } of surplus.ended) {
      ender.end(flow);
      flowLog.event({ ...existingEvent(flow, workloadId, null, decision), state: "rejected" });
    }
    return ended.length + surplus.ended.length;
  }

  /** Ends a flow whose decision has been recorded. */
  end(flow: FlowTuple): void {
    this.#options.ender.end(flow);
  }

  /** Takes the endings that conntrack reported. Returns those of flows that the lane follows. */
  onEndings(endings: readonly FlowEnding[]): FlowTuple[] {
    const followed: FlowTuple[] = [];
    for (const ending of endings) {
      const state = stateOf(this.#options.marks, ending.mark);
      if (state === STATE.looking || state === STATE.confirming || state === STATE.http) followed.push(ending.flow);
      const flow = this.#live.get(ending.flow);
      if (flow === null || this.#isOfPredecessor(flow, ending)) continue;
      this.#live.closed(ending.flow);
      this.#options.journal.closed(ending.flow);
      if (this.#handedOver && state === STATE.rejected) continue;
      const closedBy = state === STATE.rejected ? "policy" : ending.lastSeen;
      this.#options.flowLog.ended(flow, ending, Date.now(), closedBy);
    }
    return followed;
  }

  /** Whose look-ups lead to which addresses of open flows, each pair once. */
  bindingsInUse(): { workloadId: number; address: Address }[] {
    const bindings = new Map<string, { workloadId: number; address: Address }>();
    for (const { workloadId, tuple } of this.#live.all()) {
      const { w0, w1, w2, w3 } = tuple.server;
      bindings.set(`${workloadId} ${w0} ${w1} ${w2} ${w3}`, { workloadId, address: tuple.server });
    }
    return [...bindings.values()];
  }

  #endByPolicy(flow: LiveFlow, decision: Decision): void {
    const { ender, flowLog } = this.#options;
    const entry = ender.end(flow.tuple);
    const event = existingEvent(flow.tuple, flow.workloadId, null, decision);
    const { flowId, application, name, run } = flow;
    flowLog.event({ ...event, flowId, application, name, state: "rejected" }, run);
    if (entry !== null) flowLog.ended(flow, endingOf(entry), Date.now(), "policy");
  }

  /** A flow must not leave the table while it is open: it would be decided no more. So a doubtful word is checked. */
  #isOfPredecessor(flow: LiveFlow, ending: FlowEnding): boolean {
    const age = performance.timeOrigin + performance.now() - flow.since;
    return age < YOUNG_MS && this.#options.conntrack.get(ending.original) !== null;
  }

  /** The end record of a flow that the lane has cut, as counted so far. */
  #lastWords(flow: LiveFlow): void {
    const { ender, flowLog } = this.#options;
    const entry = ender.find(flow.tuple);
    if (entry !== null) flowLog.ended(flow, endingOf(entry), Date.now(), "policy");
  }
}

/** A flow that was there before this agent, as if it had just been decided. Id 0: no record of its beginning exists. */
function existingEvent(tuple: FlowTuple, workloadId: number, facts: FlowEvent["facts"], decision: Decision): FlowEvent {
  return {
    kind: "flow",
    flowId: 0,
    time: performance.timeOrigin + performance.now(),
    workloadId,
    tuple,
    application: "Unknown",
    name: null,
    method: null,
    path: null,
    decision,
    audit: null,
    facts,
    state: "allowed",
  };
}
