import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import { unboundFacts } from "../model/unbound-facts.ts";
import { ICMP, ICMPV6 } from "../net/ports.ts";
import { ByteWriter, type Page, pageOf } from "./bytes.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";
import { AT, KINDS, STATES, writeTuple } from "./event-codec.ts";
import { Outcome } from "./outcome.ts";
import { EventPacker, PackedEvent } from "./packed-event.ts";
import { type Cursor, RecordStore } from "./record-store.ts";
import { TupleIndex } from "./tuple-index.ts";

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

/** What the open flows of one workload take; `bytes` encoded. */
export interface Share {
  flows: number;
  bytes: number;
}

/** A flow that stays, and by which decision. */
interface Redecided {
  readonly bytes: Uint8Array;
  readonly before: Decision;
  readonly outcome: Outcome;
}

const FLOW = KINDS.indexOf("flow");
const HTTP = STATES.indexOf("http");
/** Memory that is held and not used is given back when it is this much, and most of it. */
const SLACK_BYTES = 4 * 1024 * 1024;
/** Flows decided anew between two chances to do something else. */
const STEP = 256;
/** Flows that others are compared with. */
const MOST_ALIKE = 16_384;
/** Of censuses, which are told apart by a mark of 8 bits. */
const ROUNDS = 255;

/**
 * The flows that are open, so that a change of policy or label ends those that are no longer allowed. Bounded, per
 * workload too: a pod with more open flows than that is told apart from one without (`full`), and the caller decides its
 * surplus flows from what conntrack knows of them. They are kept as the packed events that opened them, some hundred bytes each: most only wait
 * for their end, and are never looked into.
 */
export class LiveFlows {
  readonly #limits: LiveFlowLimits;
  readonly #perWorkload = new Map<number, Share>();
  readonly #seed: number;
  #store = new RecordStore<Outcome>();
  #index: TupleIndex;
  /** Runs of flows that this one did not number. */
  readonly #runs = new Map<number, string>();
  readonly #view = new PackedEvent();
  readonly #packer = new EventPacker();
  readonly #key = pageOf(new Uint8Array(64));
  readonly #keyWriter = new ByteWriter(this.#key);
  readonly #at = { page: this.#key, at: 0, protocol: 0 };
  readonly #outcomes = new WeakMap<Decision, Outcome>();
  /** Counts the times that all handles became others. */
  #packings = 0;
  /** Number of the census that was begun last; flows that it has met, and newer ones, bear it. */
  #round = 0;

  /** `seed`: secret, for the hash of what pods choose. */
  constructor(limits: LiveFlowLimits, seed = 0) {
    this.#limits = limits;
    this.#seed = seed;
    this.#index = new TupleIndex((handle) => this.#tupleAt(handle), seed);
  }

  get size(): number {
    return this.#index.size;
  }

  /** What the flows of each workload take. */
  shares(): ReadonlyMap<number, Readonly<Share>> {
    return this.#perWorkload;
  }

  /** Takes the decision on a flow. A later decision on the same tuple replaces the earlier one; a denial removes it. `last` is what was kept. */
  opened(event: FlowEvent): Opened {
    if (event.kind === "dns") return "not open";
    const packed = event instanceof PackedEvent ? event : this.#packer.pack(event);
    // A later request of a kept connection: allowed on its own facts, the flow stays as it is.
    if (packed.kind === "request" && !packed.hasFacts && packed.state !== "rejected") return "not open";
    let since = packed.time;
    const before = this.findPacked(packed.page, packed.at + AT.client, packed.page.bytes[packed.at + AT.protocol]!);
    if (before >= 0) {
      const known = this.view(before);
      if (known.flowId === packed.flowId && !this.#runs.has(before)) since = known.time;
      this.remove(before);
    }
    if (!packed.hasFacts || (packed.state !== "allowed" && packed.state !== "http")) return "not open";
    return this.#keep(packed, since, null);
  }

  /** Takes a flow that an earlier run of the agent decided. */
  resumed(flow: LiveFlow): Opened {
    if (this.find(flow.tuple) >= 0) return "not open";
    return this.#keep(this.#packer.pack(eventOf(flow)), flow.since, flow.run ?? null);
  }

  #keep(packed: PackedEvent, since: number, run: string | null): Opened {
    const { workloadId, length } = packed;
    let share = this.#perWorkload.get(workloadId);
    if ((share?.flows ?? 0) >= this.#limits.perWorkload || this.size >= this.#limits.total) return "full";
    if (share === undefined) {
      share = { flows: 0, bytes: 0 };
      this.#perWorkload.set(workloadId, share);
    }
    share.flows++;
    share.bytes += length;
    const handle = this.#store.put(packed.page, packed.at, length, packed.outcome, this.#round);
    const page = this.#store.page(handle);
    const at = this.#store.at(handle);
    page.bytes[at + AT.kind] = FLOW;
    page.view.setFloat64(at + AT.time, since);
    this.#index.add(handle);
    if (run !== null) this.#runs.set(handle, run);
    this.last = handle;
    return "kept";
  }

  /** Handle of what was kept last. */
  last = -1;

  /** The handle of a flow; -1: it is not open. */
  find(tuple: FlowTuple): number {
    this.#keyWriter.back(0);
    writeTuple(this.#keyWriter, tuple);
    return this.findPacked(this.#key, 1, tuple.protocol);
  }

  /** The same; the tuple lies as in an event, from `AT.client` on. */
  findPacked(page: Page, at: number, protocol: number): number {
    return this.#index.find(page, at, protocol);
  }

  /** The event that opened the flow, as a decision on a flow; its time is when the flow began. Borrowed until the next call. */
  view(handle: number): PackedEvent {
    const store = this.#store;
    this.#view.open(store.page(handle), store.at(handle), store.length(handle), store.owner(handle), null);
    return this.#view;
  }

  /** The run of the agent that numbered it; null: this one. */
  runOf(handle: number): string | null {
    return this.#runs.get(handle) ?? null;
  }

  get(tuple: FlowTuple): LiveFlow | null {
    const handle = this.find(tuple);
    return handle < 0 ? null : this.flow(handle);
  }

  flow(handle: number): LiveFlow {
    const view = this.view(handle);
    const run = this.runOf(handle);
    const { tuple } = view;
    const protocol = tuple.protocol === ICMPV6 ? ICMP : tuple.protocol;
    return {
      flowId: view.flowId,
      ...(run === null ? {} : { run }),
      workloadId: view.workloadId,
      tuple,
      application: view.application,
      name: view.name,
      facts: {
        ...(view.facts ?? unboundFacts(tuple.server, tuple.serverPort, protocol)),
        namesFinal: true,
        ended: true,
      },
      decision: view.decision,
      since: view.time,
      ...(view.state === "http" ? { followed: true as const } : {}),
    };
  }

  /** The flow is over; returns what was known of it. */
  closed(tuple: FlowTuple): LiveFlow | null {
    const handle = this.find(tuple);
    if (handle < 0) return null;
    const flow = this.flow(handle);
    this.remove(handle);
    return flow;
  }

  remove(handle: number): void {
    const { workloadId, length } = this.view(handle);
    const share = this.#perWorkload.get(workloadId);
    if (share !== undefined) {
      share.flows--;
      share.bytes -= length;
      if (share.flows === 0) this.#perWorkload.delete(workloadId);
    }
    this.#index.remove(handle);
    this.#store.free(handle);
    if (this.#runs.size > 0) this.#runs.delete(handle);
    const { held, used } = this.#store.size;
    if (held > SLACK_BYTES && used * 4 < held) this.#pack();
  }

  /** All, whatever comes and goes meanwhile: a flow that is there during the whole walk is met, perhaps twice. */
  *handles(): Generator<number> {
    let packings = this.#packings;
    for (let cursor: Cursor = { pool: 0, index: 0 }; ; ) {
      const handle = this.#store.next(cursor);
      if (handle < 0) return;
      yield handle;
      if (packings === this.#packings) continue;
      packings = this.#packings;
      cursor = { pool: 0, index: 0 };
    }
  }

  /** Begins a census: whoever is in the table now, and is not met by `met` from now on, is among `unmet`. */
  beginCensus(): void {
    this.#round = (this.#round % ROUNDS) + 1;
  }

  met(handle: number): void {
    this.#store.setMark(handle, this.#round);
  }

  /** As `handles`: those that the census has not met. */
  *unmet(): Generator<number> {
    for (const handle of this.handles()) if (this.#store.mark(handle) !== this.#round) yield handle;
  }

  *all(): Generator<LiveFlow> {
    for (const handle of this.handles()) yield this.flow(handle);
  }

  /**
   * Decides every open flow that is not followed anew and hands over those that must end; they leave the table. Null now and then: a
   * moment to do something else. `decide` gets facts that have ended, so null (not decided) is a denial too: it must not help the flow. It
   * may keep a flow by its own decision only, and its answer must hold for every flow of the same workload, addresses, server port and facts.
   */
  *redecide(decide: (flow: LiveFlow) => Decision | null): Generator<EndedFlow | null> {
    const alike = new Map<number, Redecided>();
    let step = 0;
    for (const handle of this.handles()) {
      if (++step % STEP === 0) yield null;
      if (this.#store.owner(handle) === undefined) continue;
      const view = this.view(handle);
      if (view.page.bytes[view.at + AT.state] === HTTP) continue;
      const like = likeness(view);
      const known = alike.get(like);
      if (known !== undefined && isAlike(view, known)) {
        this.#store.setOwner(handle, known.outcome);
        continue;
      }
      const flow = this.flow(handle);
      const decision = decide(flow);
      if (decision !== null && decision.action === "Allow") {
        const outcome = this.#outcomeOf(decision);
        const { page, at, length } = this.view(handle);
        this.#store.setOwner(handle, outcome);
        if (alike.size < MOST_ALIKE)
          alike.set(like, {
            bytes: page.bytes.slice(at, at + length),
            before: flow.decision,
            outcome,
          });
        continue;
      }
      this.remove(handle);
      const { policy, rule } = decision ?? { policy: null, rule: null };
      yield { flow, decision: { action: "Deny", policy, rule, reason: "NoLongerAllowed" } };
    }
  }

  #outcomeOf(decision: Decision): Outcome {
    const known = this.#outcomes.get(decision);
    if (known !== undefined) return known;
    const outcome = new Outcome(decision);
    this.#outcomes.set(decision, outcome);
    return outcome;
  }

  #tupleAt(handle: number): { readonly page: Page; readonly at: number; readonly protocol: number } {
    const at = this.#store.at(handle);
    this.#at.page = this.#store.page(handle);
    this.#at.at = at + AT.client;
    this.#at.protocol = this.#at.page.bytes[at + AT.protocol]!;
    return this.#at;
  }

  /** Moves all into as little memory as they need. */
  #pack(): void {
    const before = this.#store;
    const runs = new Map(this.#runs);
    this.#runs.clear();
    this.#store = new RecordStore();
    this.#index = new TupleIndex((handle) => this.#tupleAt(handle), this.#seed);
    this.#packings++;
    const cursor: Cursor = { pool: 0, index: 0 };
    for (let old = before.next(cursor); old >= 0; old = before.next(cursor)) {
      const at = before.at(old);
      const handle = this.#store.put(before.page(old), at, before.length(old), before.owner(old), before.mark(old));
      this.#index.add(handle);
      const run = runs.get(old);
      if (run !== undefined) this.#runs.set(handle, run);
    }
  }
}

/** A flow as the decision that opened it. */
export function eventOf(flow: LiveFlow): FlowEvent {
  const { flowId, workloadId, tuple, application, name, facts, decision, since, followed } = flow;
  const state = followed ? "http" : "allowed";
  const none = { method: null, path: null, audit: null };
  return { kind: "flow", flowId, time: since, workloadId, tuple, application, name, decision, facts, state, ...none };
}

/** A number that flows have in common which differ in nothing that a decision can depend on. */
function likeness({ page, at, length }: PackedEvent): number {
  let hash = length;
  const end = at + length;
  for (let i = at + AT.workloadId; i < at + AT.clientPort; i += 4)
    hash = Math.imul(hash ^ page.view.getInt32(i), 0x9e3779b1);
  for (let i = at + AT.serverPort; i < end; i++) hash = Math.imul(hash ^ page.bytes[i]!, 0x01000193);
  return hash;
}

function isAlike(view: PackedEvent, { bytes, before }: Redecided): boolean {
  const { page, at, length } = view;
  if (bytes.length !== length || before !== view.decision) return false;
  if (page.bytes[at + AT.protocol] !== bytes[AT.protocol]) return false;
  for (let i = AT.workloadId; i < length; i++) {
    if (page.bytes[at + i] !== bytes[i] && (i < AT.clientPort || i >= AT.serverPort)) return false;
  }
  return true;
}

/** The same text for the same flow, and only for it. */
export function keyOf(tuple: FlowTuple): string {
  const { client: c, server: s } = tuple;
  return `${tuple.protocol} ${c.w0} ${c.w1} ${c.w2} ${c.w3} ${tuple.clientPort} ${s.w0} ${s.w1} ${s.w2} ${s.w3} ${tuple.serverPort}`;
}
