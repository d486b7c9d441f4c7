import type { FlowTuple } from "../flow/event.ts";
import type { AgentConfig } from "../model/config.ts";
import { ANSWER, FROM_SERVER, REMEMBERED_SHIFT, STATE, TO_RESOLVER } from "../model/verdict.ts";
import type { NameTable } from "../names/table.ts";
import { readFirstBytes } from "../packet/first-bytes.ts";
import { newPacket, PROTOCOL, parsePacket } from "../packet/ip.ts";
import { newTcpSegment, parseTcp, TCP_FLAG } from "../packet/tcp.ts";
import type { Program } from "../program/program.ts";
import type { CarriedPairs } from "./carried-pairs.ts";
import { openedFlow } from "./carry.ts";
import { clientSegment } from "./client-segment.ts";
import type { Commands, InspectorCounters, QueuedPacket, Resolved } from "./contract.ts";
import { datagram, malformedDatagram, resumeDatagram } from "./datagram.ts";
import { isBindable } from "./dns/bindable.ts";
import type { DnsGuard } from "./dns/guard.ts";
import { DnsUdp } from "./dns/udp.ts";
import { isDns, resumeSyn, synPacket, unknownTcp } from "./first-packet.ts";
import { leave } from "./flow-life.ts";
import { type FlowKey, keyOf, newFlowKey, setTuple } from "./flow-table.ts";
import { flowDue, resume } from "./inspect-stream.ts";
import { stopWaiting } from "./judge.ts";
import { type AnyFlow, type Arrival, Lane } from "./lane.ts";
import { tupleOf } from "./lone-flow.ts";
import { followAgain } from "./proving.ts";
import { type HandedFlow, recallFlows } from "./recall.ts";
import { redecide } from "./redecide.ts";
import type { RequestBoundaries } from "./request-boundaries.ts";
import { serverSegment } from "./server-segment.ts";
import { SilentFlows } from "./silent-flows.ts";
import type { TcpFlow } from "./tcp-flow.ts";
import { toldSyn } from "./told.ts";
import { UnknownSources } from "./unknown-source.ts";

export interface InspectorOptions {
  readonly program: Program;
  readonly names: NameTable;
  readonly dns: DnsGuard;
  readonly config: AgentConfig;
  readonly commands: Commands;
  /** Agent start with `existingFlows: Adopt`: TCP in mid-flow is decided on its addresses instead of being reset. */
  readonly adopting: boolean;
  /** Secret of this run, for the hash of the flow table. */
  readonly seed?: number;
  readonly firstFlowId?: number;
  /** Names this run of the agent in flow ids, as the flow log does. */
  readonly run?: string;
  readonly boundaries?: RequestBoundaries | null;
  /** What the kernel may open itself; null: nothing, for nobody would be told of it. */
  readonly carried?: CarriedPairs | null;
  /** SYNs that may go on unasked; null: none, for the same reason. */
  readonly told?: CarriedPairs | null;
}

/** A flow younger than this does not end by word of conntrack: the word is about the flow that had its ports before. */
const TOO_YOUNG_TO_END = 5000;
const LEAST_SYN = 40;

/**
 * The packet lane's logic without its I/O: events in (packets, answers of the resolver, a new Program, time), commands out.
 * It only says which part of the inspector an event belongs to. Every packet gets exactly one verdict, now or later.
 */
export class Inspector {
  readonly #lane: Lane;
  readonly #unknown = new UnknownSources();
  readonly #silent = new SilentFlows();
  readonly #dnsUdp: DnsUdp;
  readonly #key: FlowKey = newFlowKey();
  readonly #arrival: Arrival;
  #now = 0;

  constructor(options: InspectorOptions) {
    this.#lane = new Lane({
      ...options,
      seed: options.seed ?? 0,
      firstFlowId: options.firstFlowId ?? 1,
      run: options.run ?? "0",
    });
    const { dns: guard, commands } = options;
    const lane = this.#lane;
    this.#dnsUdp = new DnsUdp({ guard, commands, counters: lane.counters, nextFlowId: () => lane.newFlowId() });
    this.#arrival = {
      id: 0,
      fromServer: false,
      toResolver: false,
      remembered: 0,
      packet: newPacket(),
      segment: newTcpSegment(),
    };
  }

  get counters(): InspectorCounters {
    return this.#lane.counters;
  }

  /** Flows that the lane follows (not those that the kernel carries). */
  get flows(): number {
    return this.#lane.flows.size;
  }

  /** Agent start is over: TCP in mid-flow that nobody decided is reset from now on. */
  set adopting(value: boolean) {
    this.#lane.adopting = value;
  }

  /** Whether conntrack compares the numbers of TCP segments loosely: then every SYN-ACK has to be seen. */
  set looseWindows(value: boolean) {
    this.#lane.looseWindows = value;
  }

  /** Whether the agent before this one still listens. */
  set beside(value: boolean) {
    this.#lane.beside = value;
  }

  /**
   * How long what is handed over from now on had waited at most, in milliseconds; undefined where nobody knows. To be taken back before anything
   * else: what is decided when an answer comes or time passes was held here.
   */
  set waited(value: number | undefined) {
    this.#lane.waited = value;
  }

  /** `now` in milliseconds since the epoch; it must not go backwards. */
  packet(queued: QueuedPacket, now: number): void {
    this.#now = now;
    const lane = this.#lane;
    const { packet } = this.#arrival;
    lane.counters.packets++;
    this.#readQuestion(queued);
    const readable = parsePacket(queued.bytes, queued.start, queued.end - queued.start, packet) && !packet.fragment;
    const arrival = this.#arrival;
    keyOf(packet, arrival.fromServer, this.#key);
    const row = lane.program.workloadAt(this.#key.c0, this.#key.c1, this.#key.c2, this.#key.c3);
    if (row < 0) {
      if (readable) {
        this.#unknown.hold(lane, this.#key, arrival, queued, now);
        return;
      }
      lane.counters.malformed++;
      lane.drop(queued.id);
      return;
    }
    const workloadId = lane.program.workloadId(row);
    const cls = lane.program.classOfRow(row);
    if (!readable) {
      this.#unreadable(workloadId, cls, now);
      return;
    }
    if (packet.protocol === PROTOCOL.tcp) {
      this.#tcp(workloadId, cls, now);
      return;
    }
    if (packet.protocol === PROTOCOL.udp && isDns(lane, arrival, this.#key)) {
      const workload = { workloadId, cls, program: lane.program };
      if (arrival.fromServer) {
        this.#dnsUdp.answer(queued, packet, workload, now);
        return;
      }
      this.#dnsUdp.question(queued, packet, workload, now);
      return;
    }
    datagram(lane, this.#key, arrival, workloadId, cls, now);
  }

  /**
   * A flow that the kernel opened: the first bytes of its first packet, `[start, end)` of borrowed bytes. The packet is gone; a flow
   * that is not allowed, or of a pod that is gone, ends.
   */
  opened(bytes: Uint8Array, start: number, end: number, now: number): void {
    this.#now = now;
    const lane = this.#lane;
    const arrival = this.#arrival;
    if (!readFirstBytes(bytes, start, end, arrival.packet)) {
      lane.counters.malformed++;
      return;
    }
    arrival.fromServer = arrival.toResolver = false;
    arrival.remembered = 0;
    keyOf(arrival.packet, false, this.#key);
    const row = lane.program.workloadAt(this.#key.c0, this.#key.c1, this.#key.c2, this.#key.c3);
    if (row < 0) {
      lane.commands.end(tupleOf(this.#key, arrival));
      return;
    }
    openedFlow(lane, this.#key, arrival, lane.program.workloadId(row), lane.program.classOfRow(row), now);
  }

  /** A SYN that went on unasked, whole: `[start, end)` of borrowed bytes. Less than a header is no news, only what brought the others. */
  told(bytes: Uint8Array, start: number, end: number, now: number): void {
    if (end - start < LEAST_SYN) return;
    this.#now = now;
    const lane = this.#lane;
    const arrival = this.#arrival;
    const { packet, segment } = arrival;
    if (!parsePacket(bytes, start, end - start, packet) || !parseTcp(packet, segment)) {
      lane.counters.malformed++;
      return;
    }
    arrival.fromServer = arrival.toResolver = false;
    arrival.remembered = 0;
    keyOf(packet, false, this.#key);
    const row = lane.program.workloadAt(this.#key.c0, this.#key.c1, this.#key.c2, this.#key.c3);
    // The pod is gone; what it sends still is of an unknown source.
    if (row < 0) return;
    const known = this.#forgetFormer();
    toldSyn(lane, this.#key, arrival, lane.program.workloadId(row), lane.program.classOfRow(row), known, now);
  }

  /** SYNs went on unasked of which nothing was heard. */
  toldLost(now: number): void {
    this.#lane.synDoubt.ofAll(now);
  }

  /** The agent's resolver has answered (or failed: no answers). */
  resolved(requestId: number, answers: readonly Resolved[], now: number): void {
    this.#now = now;
    const lane = this.#lane;
    const pending = lane.resolutions.finish(requestId, now);
    if (pending === null) return;
    if (pending.counted) lane.use.of(pending.workloadId).resolving--;
    for (const answer of answers) {
      if (!pending.names.includes(answer.name)) continue;
      // What the agent found binds no more than what the pod found would (EVASION 47).
      const bindable = answer.addresses.filter((address) => isBindable(lane.program, answer.name, address));
      if (bindable.length > 0)
        lane.names.learn(pending.workloadId, answer.name, answer.aliases, bindable, answer.ttl, now);
    }
    for (const waiting of pending.waiting) {
      const flow = waiting as AnyFlow;
      if (flow.gone || flow.resolving !== requestId) continue;
      flow.resolving = 0;
      flow.resolveUntil = Infinity;
      flow.resolved.push(...pending.names);
      this.#resume(flow, now);
    }
  }

  /** Which HTTP flows conntrack knows, once: those of an agent that died go on where its boundaries say that they stand. */
  recall(handed: readonly HandedFlow[], now: number): number {
    this.#now = now;
    const flows = recallFlows(this.#lane, handed, now);
    for (const flow of flows) redecide(this.#lane, flow, now);
    return flows.filter((flow) => !flow.gone).length;
  }

  /** A new epoch, between two batches: every flow that is still followed is decided anew, and unknown sources are. */
  adopt(program: Program, now: number, config: AgentConfig = this.#lane.config): void {
    this.#now = now;
    const lane = this.#lane;
    const before = lane.program;
    lane.program = program;
    lane.config = config;
    lane.use.limits = config.limits;
    for (const flow of lane.flows.all()) {
      if (!flow.gone) redecide(lane, flow, now);
    }
    for (let row = 0; row < before.workloadCount; row++) this.#forgetIfGone(before.workloadId(row));
    for (const packet of this.#unknown.takeAll()) this.packet(packet, now);
  }

  /** The flows that `flowEnded` would end. */
  following(): FlowTuple[] {
    return this.#lane.flows.all().flatMap((flow) => (flow.kind === "tcp" && !flow.gone ? [flow.tuple] : []));
  }

  /**
   * Conntrack says that the entry is gone. `doubted`: it was asked about the flow, and did not know it; the entry of one that has been heard
   * of since may be there by now. One that has none, and does without, stays.
   */
  flowEnded(tuple: FlowTuple, doubted = false): void {
    setTuple(this.#key, tuple);
    const flow = this.#lane.flows.find(this.#key);
    if (flow === null || flow.kind !== "tcp") return;
    const mine = doubted ? flow.silentSince !== 0 : this.#now - flow.bornAt >= TOO_YOUNG_TO_END;
    if (!mine || flow.untracked) return;
    if (!doubted || !this.#lane.untracked.keep(this.#lane, flow)) leave(this.#lane, flow, 0);
  }

  tick(now: number): void {
    this.#now = now;
    const lane = this.#lane;
    this.#unknown.expire(lane, now);
    lane.latelyAllowed.tick(now);
    lane.hellos.tick(now);
    lane.syns.endTurn();
    this.#silent.tick(lane, now);
    for (let flow = lane.deadlines.due(now); flow !== null; flow = lane.deadlines.due(now)) {
      if (flow.gone) continue;
      if (flow.kind === "tcp" && flow.phase !== "opening") flowDue(lane, flow, now);
      else {
        stopWaiting(lane, flow);
        this.#resume(flow, now);
      }
    }
  }

  /** Milliseconds since the epoch; Infinity when nothing waits for time to pass. */
  nextDeadline(): number {
    return Math.min(this.#lane.deadlines.next(), this.#unknown.nextDeadline);
  }

  #readQuestion(queued: QueuedPacket): void {
    const arrival = this.#arrival;
    arrival.id = queued.id;
    arrival.fromServer = (queued.question & FROM_SERVER) !== 0;
    arrival.toResolver = (queued.question & TO_RESOLVER) !== 0;
    arrival.remembered = (queued.question >>> REMEMBERED_SHIFT) & 3;
  }

  #tcp(workloadId: number, cls: number, now: number): void {
    const lane = this.#lane;
    const arrival = this.#arrival;
    const { segment } = arrival;
    if (!parseTcp(arrival.packet, segment)) {
      this.#unreadable(workloadId, cls, now);
      return;
    }
    const known = lane.flows.find(this.#key);
    const flow = known !== null && known.kind === "tcp" ? known : null;
    if (flow !== null) flow.silentSince = 0;
    if (flow !== null && flow.workloadId !== workloadId) leave(lane, flow, 0);
    let followed = flow !== null && !flow.gone ? flow : null;
    const kept = followed === null ? lane.hellos.find(this.#key) : null;
    const opens = (segment.flags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn;
    if (opens && !arrival.fromServer) {
      lane.latelyAllowed.forget(this.#key);
      if (kept !== null) lane.hellos.forget(kept);
      synPacket(lane, this.#key, arrival, workloadId, cls, followed, now);
      return;
    }
    if (kept !== null && kept.workloadId === workloadId && arrival.remembered === STATE.looking) {
      followed = followAgain(lane, this.#key, kept, arrival, cls, now);
      if (followed === null) return;
    }
    if (followed === null) {
      unknownTcp(lane, this.#key, arrival, workloadId, cls, now);
      return;
    }
    if (followed.proving) lane.unprove(followed);
    try {
      if (arrival.fromServer) serverSegment(lane, followed, arrival, now);
      else clientSegment(lane, followed, arrival, now);
    } finally {
      lane.unprove(null);
    }
  }

  /** What is remembered of a connection that had the ports of a new one. Returns the flow, if it is followed. */
  #forgetFormer(): TcpFlow | null {
    const lane = this.#lane;
    const known = lane.flows.find(this.#key);
    const kept = lane.hellos.find(this.#key);
    lane.latelyAllowed.forget(this.#key);
    lane.recollection?.forget(this.#key);
    if (kept !== null) lane.hellos.forget(kept);
    return known !== null && known.kind === "tcp" ? known : null;
  }

  /** Ids are never used again, so what is kept for a workload that is gone would stay for ever. */
  #forgetIfGone(workloadId: number): void {
    const lane = this.#lane;
    if (lane.program.classOf(workloadId) >= 0) return;
    lane.names.forgetWorkload(workloadId);
    lane.dns.forgetWorkload(workloadId);
    lane.use.forget(workloadId);
    lane.carried?.forget(workloadId);
    lane.told?.forget(workloadId);
    lane.synDoubt.forget(workloadId);
  }

  /** Malformed headers, and fragments that conntrack did not put together. */
  #unreadable(workloadId: number, cls: number, now: number): void {
    const lane = this.#lane;
    if (!lane.program.selected(cls)) {
      lane.answer(this.#arrival.id, ANSWER.pass);
      return;
    }
    malformedDatagram(lane, this.#key, this.#arrival, workloadId, cls, now);
  }

  #resume(flow: AnyFlow, now: number): void {
    if (flow.kind === "datagram") resumeDatagram(this.#lane, flow, now);
    else if (flow.phase === "opening") resumeSyn(this.#lane, flow, now);
    else resume(this.#lane, flow, now);
  }
}
