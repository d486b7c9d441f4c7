import { randomInt } from "node:crypto";
import { ENDING, type FlowEnding, PackedEnding } from "../flow/ending.ts";
import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import { eventOf, keyOf, type LiveFlow, LiveFlows } from "../flow/live-flows.ts";
import { EventPacker, type PackedEvent } from "../flow/packed-event.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { FOLLOWED_STATES, type MarkLayout, stateOf } from "../kernel/marks.ts";
import type { Decision } from "../model/decision.ts";
import { STATE } from "../model/verdict.ts";
import type { Address } from "../net/address.ts";
import type { Program } from "../program/program.ts";
import type { FlowEnder } from "./endings.ts";
import { decideSurplus, type ExistingFlow, type ExistingFlows } from "./existing-flows.ts";
import { endingOf } from "./flow-ending.ts";
import type { FlowLog } from "./flow-log.ts";
import type { Journal } from "./journal/journal.ts";
import { KernelClock } from "./kernel-clock.ts";
import { type Logger, RateLimit } from "./log.ts";
import { RefusedFlows } from "./refused-flows.ts";
import { REMEMBERED, redecide } from "./state.ts";
import { originalOf } from "./translation.ts";
import { Turns } from "./turns.ts";

const LIMITS = { total: 1_000_000, perWorkload: 65_536 };
/** The ending of an entry may come behind the decision on the next flow with the same ports, by no more than this. */
const YOUNG_MS = 5_000;
/** A time that the kernel noted, against one of this process. */
const CLOCK_ERROR_MS = 100;
/** The packet on which a flow is decided may wait for that, a second at most where a name has to be resolved; its entry ages meanwhile. */
const HELD_MS = 1_500;

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
  readonly #packer = new EventPacker();
  readonly #clock = new KernelClock();
  readonly #refused: RefusedFlows;
  #handedOver = false;

  constructor(options: OpenFlowsOptions) {
    this.#options = options;
    this.#refused = new RefusedFlows(options.conntrack, options.marks, options.log);
    this.#live = new LiveFlows(options.limits ?? LIMITS, randomInt(0x7fffffff));
  }

  get size(): number {
    return this.#live.size;
  }

  /** For the journal. */
  get live(): LiveFlows {
    return this.#live;
  }

  /** A decision of the lane, borrowed until the call returns. */
  onEvent(event: FlowEvent): void {
    const { flowLog, journal, log } = this.#options;
    const before = event.kind !== "dns" && event.state === "rejected" ? this.#live.get(event.tuple) : null;
    const opened = this.#live.opened(event);
    if (opened === "kept") this.#note();
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
    if (before !== null && before.run === undefined && before.flowId === event.flowId) this.#lastWords(before);
  }

  /** Has the journal note what was kept last. */
  #note(): void {
    const live = this.#live;
    this.#options.journal.opened(live.view(live.last), live.runOf(live.last));
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
    if (opened === "kept") this.#note();
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
    this.#refused.close();
    for (const handle of this.#live.handles()) this.#live.remove(handle);
  }

  /**
   * Decides everything anew and ends what is no longer allowed; others get their turn in between. Resolves with how many that were.
   * What is decided meanwhile is decided on `program` already.
   */
  async redecide(program: Program): Promise<number> {
    const { ender, flowLog, journal, conntrack, marks } = this.#options;
    if (!this.#handedOver) this.#refused.reconsider(program);
    const turns = new Turns();
    let count = 0;
    for (const ended of this.#live.redecide((flow) => redecide(program, flow))) {
      if (turns.isOver()) await turns.next();
      if (ended === null) continue;
      count++;
      journal.closed(ended.flow.tuple);
      this.#endByPolicy(ended.flow, ended.decision);
    }
    if (!this.#surplus) return count;
    this.#surplus = false;
    const surplus = await decideSurplus(conntrack, program, marks, (flow) => this.#live.find(flow) >= 0, turns);
    this.#surplus ||= surplus.kept > 0;
    for (const { flow, workloadId, decision } of surplus.ended) {
      if (turns.isOver()) await turns.next();
      ender.end(flow);
      flowLog.event({ ...existingEvent(flow, workloadId, null, decision), state: "rejected" });
    }
    return count + surplus.ended.length;
  }

  /** Ends a flow whose decision has been recorded. */
  end(flow: FlowTuple): void {
    this.#options.ender.end(flow);
  }

  /** Takes an ending that conntrack reported, borrowed until the call returns. True: the lane follows this flow, if it knows it. */
  onEnding(ending: FlowEnding): boolean {
    const { marks, journal, flowLog } = this.#options;
    const live = this.#live;
    const state = stateOf(marks, ending.mark);
    const followed = FOLLOWED_STATES.has(state);
    const handle =
      ending instanceof PackedEnding
        ? live.findPacked(ending.page, ending.at + ENDING.client, ending.protocol)
        : live.find(ending.flow);
    if (handle < 0 || this.#isOfPredecessor(live.view(handle), ending)) return followed;
    const flow = live.view(handle);
    journal.closed(flow);
    if (!this.#handedOver || state !== STATE.rejected) {
      const closedBy = state === STATE.rejected ? "policy" : ending.lastSeen;
      flowLog.ended(flow, ending, Date.now(), closedBy, live.runOf(handle) ?? undefined);
    }
    live.remove(handle);
    return followed;
  }

  /** Takes an open flow that conntrack does not know any more; when it ended, and with how many bytes, nobody was told. */
  foundEnded(handle: number): void {
    const live = this.#live;
    const flow = live.view(handle);
    this.#options.journal.closed(flow);
    this.#options.flowLog.ended(flow, null, Date.now(), "unknown", live.runOf(handle) ?? undefined);
    live.remove(handle);
  }

  /** Whose look-ups lead to which addresses of open flows, each pair once. */
  bindingsInUse(): { workloadId: number; address: Address }[] {
    const bindings = new Map<string, { workloadId: number; address: Address }>();
    for (const handle of this.#live.handles()) {
      const { workloadId, tuple } = this.#live.view(handle);
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
    if (entry !== null) this.#tellEnd(flow, entry);
  }

  /**
   * Whether an entry has ended that had the same ports before this flow. A flow must not leave the table while it is open: it would be
   * decided no more. Its own entry ends after its decision, that of a predecessor was gone before. Where the
   * two times are too near to each other to tell, or not known, the kernel is asked.
   */
  #isOfPredecessor({ time: since, waited }: PackedEvent, ending: FlowEnding): boolean {
    const now = performance.timeOrigin + performance.now();
    const stop = ending.stop > 0 ? this.#clock.read(ending.stop, now) : null;
    if (stop === null ? now - since > YOUNG_MS : stop > since + CLOCK_ERROR_MS) return false;
    const held = waited === undefined ? HELD_MS : waited + CLOCK_ERROR_MS;
    if (stop !== null && stop < since - held) return true;
    return this.#options.conntrack.get(originalOf(ending)) !== null;
  }

  /** The end record of a flow that the lane has cut, as counted so far. */
  #lastWords(flow: LiveFlow): void {
    const entry = this.#options.ender.find(flow.tuple);
    if (entry !== null) this.#tellEnd(flow, entry);
  }

  #tellEnd(flow: LiveFlow, entry: ConntrackEntry): void {
    this.#options.flowLog.ended(this.#packer.pack(eventOf(flow)), endingOf(entry), Date.now(), "policy", flow.run);
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
