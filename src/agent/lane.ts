import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import { RingWriter } from "../flow/ring.ts";
import { type Commands, DROP, type QueuedPacket, type ResolveRequest, UNASKED } from "../inspector/contract.ts";
import { DnsGuard } from "../inspector/dns/guard.ts";
import { Inspector } from "../inspector/inspector.ts";
import type { HandedFlow } from "../inspector/recall.ts";
import { takesLooseSegments } from "../kernel/conntrack.ts";
import { type MarkLayout, markLayout, withWord, wordOf } from "../kernel/marks.ts";
import { EventFd, Poller } from "../kernel/poller.ts";
import type { Queue } from "../kernel/queue.ts";
import { logGroupOf, otherGeneration, queuesOf } from "../kernel/ruleset.ts";
import { toldGroupOf } from "../kernel/ruleset-told.ts";
import type { Generation } from "../model/verdict.ts";
import { type Binding, NameTable } from "../names/table.ts";
import { openProgram, type Program } from "../program/program.ts";
import { answerWord } from "./answer-word.ts";
import { Ballast } from "./ballast.ts";
import { openBoundaries } from "./boundaries.ts";
import { type CarriedFlows, openCarriedFlows } from "./carried-flows.ts";
import { FloodPolice } from "./flood-police.ts";
import { HOST, type HostBorder, hostAnswer, openBorder } from "./host-network/border.ts";
import { Injector } from "./injector.ts";
import { BEAT_MS, LaneBeat } from "./lane-beat.ts";
import { type FromLane, type LaneStart, PULSE, type ToLane } from "./lane-messages.ts";
import { openQueues } from "./lane-queues.ts";
import { RateLimit, textOf } from "./log.ts";
import { type LaneParts, publishLane } from "./metrics/lane-pulse.ts";
import { LATENCY_SLOTS, LatencyHistogram } from "./metrics/latency.ts";
import { now } from "./steady-time.ts";
import { WaitingPackets } from "./waiting-packets.ts";

/** Bits of what the poller found, in the order of its descriptors. */
const READY = { strict: 1, observed: 2, wake: 4, carried: 8, told: 16 } as const;
const TROUBLE_INTERVAL_MS = 1_000;
const SETTING_INTERVAL_MS = 1_000;
/** So full a ring loses records soon: the main thread lets it fill to the half where the flow log is slow, and then reads it empty. */
const CROWDED_RING = 0.75;
/** Where a waiting packet came from, if not from a place of border.ts. */
const OBSERVED = 1;
const NO_BYTES = new Uint8Array(0);

/**
 * The packet lane: one thread that waits for queued packets, hands them to the inspector and carries out its commands.
 * Nothing in here waits for anyone: records go to a ring, requests to other threads are posted.
 */
export class Lane implements Commands {
  readonly #port: MessagePort;
  readonly #names: NameTable;
  readonly #strict: Queue;
  readonly #observed: Queue;
  readonly #police: FloodPolice;
  readonly #poller: Poller;
  readonly #wake: EventFd;
  readonly #inspector: Inspector;
  readonly #injector: Injector;
  /** What the kernel opens by itself; null: nothing. */
  readonly #carried: CarriedFlows | null;
  readonly #ring: RingWriter;
  readonly #pulse: Float64Array;
  readonly #published: LaneParts;
  /** From the end of the read that brought a packet to the end of the send that answered its batch. */
  readonly #verdictTimes: LatencyHistogram;
  readonly #troubles = new RateLimit(TROUBLE_INTERVAL_MS);
  readonly #marks: MarkLayout;
  readonly #waiting = new WaitingPackets();
  readonly #ballast: Ballast;
  readonly #border: HostBorder;
  /** Lent to the inspector for one call, one packet after the other. */
  readonly #packet: QueuedPacket = { id: 0, question: 0, bytes: NO_BYTES, start: 0, end: 0, observed: false };
  readonly #supervisor: LaneBeat;
  readonly #generation: Generation;
  /** First queue of the agent before this one; -1: it is gone. */
  #former: number;
  #program: Program;
  #learned: Binding[] = [];
  #nextSetting = 0;
  #receivedAt = 0;
  #stopped = false;

  constructor(port: MessagePort, start: LaneStart) {
    this.#port = port;
    const { config } = start;
    this.#marks = markLayout(config.markMask);
    this.#pulse = new Float64Array(start.pulse);
    const times = this.#pulse.subarray(PULSE.verdictTimes, PULSE.verdictTimes + LATENCY_SLOTS);
    this.#verdictTimes = new LatencyHistogram(times);
    this.#pulse[PULSE.epoch] = start.program.epoch;
    this.#supervisor = new LaneBeat(start.beatDescriptor);
    this.#ring = new RingWriter(start.ring);
    this.#wake = new EventFd(start.wakeFd);
    this.#injector = new Injector(this.#marks);
    this.#names = new NameTable({
      bindingsPerWorkload: config.limits.bindings,
      seed: start.seed,
      onLearned: (binding) => this.#learned.push(binding),
    });
    this.#restore(start.bindings);
    const { dnsDenial, clusterDomain, limits } = config;
    const dns = new DnsGuard({ names: this.#names, dnsDenial, clusterDomain, limits });
    const failOpen = config.failMode === "Open";
    const queues = openQueues(queuesOf(config.queueNumber, start.generation), failOpen);
    this.#strict = queues.strict;
    this.#observed = queues.observed;
    this.#former = start.former ? queuesOf(config.queueNumber, otherGeneration(start.generation)).strict : -1;
    this.#generation = start.generation;
    this.#ballast = new Ballast(this.#strict, this.#marks);
    this.#border = openBorder(start.hostPods, this.#strict, (message) => this.#trouble(message));
    const flowGroup = logGroupOf(config.queueNumber, start.generation);
    const synGroup = toldGroupOf(config.queueNumber, start.generation);
    const carrying = openCarriedFlows({ flows: flowGroup, syns: synGroup }, start.seed);
    this.#carried = carrying.flows;
    const boundaries = openBoundaries(start.boundaries, failOpen);
    this.#program = openProgram(start.program);
    this.#inspector = new Inspector({
      program: this.#program,
      names: this.#names,
      dns,
      config,
      commands: this,
      adopting: start.adopting,
      seed: start.seed,
      firstFlowId: start.firstFlowId,
      run: start.run,
      boundaries: boundaries.rows,
      carried: this.#carried?.pairs ?? null,
      told: this.#carried?.toldPairs ?? null,
    });
    this.#inspector.looseWindows = takesLooseSegments();
    this.#inspector.beside = this.#former >= 0;
    this.#police = new FloodPolice({
      queue: this.#strict,
      marks: this.#marks,
      held: () => this.#waiting.size + this.#ballast.size,
      onPoliced: (address, perSecond) => this.#post({ kind: "policed", address, perSecond }),
      onTrouble: (message) => this.#trouble(message),
    });
    this.#published = {
      inspector: this.#inspector,
      names: this.#names,
      injector: this.#injector,
      strict: this.#strict,
      observed: this.#observed,
      waiting: this.#waiting,
      ballast: this.#ballast,
      carried: this.#carried,
    };
    const log = this.#carried?.fds ?? [];
    this.#poller = new Poller([this.#strict.fd, this.#observed.fd, start.wakeFd, ...log]);
    this.#post({ kind: "bound", fds: [this.#strict.fd, this.#observed.fd, ...log] });
    // What a lane before this one had the kernel open, this one would not know of.
    const kept = this.#carried?.flush() ?? null;
    for (const problem of [boundaries.problem, carrying.problem, kept]) if (problem !== null) this.#trouble(problem);
  }

  /** Runs until it is told to stop. */
  run(): void {
    while (!this.#stopped) {
      const asked = now();
      const wait = Math.min(BEAT_MS, Math.max(0, this.#inspector.nextDeadline() - asked));
      const ready = this.#poller.wait(Math.ceil(wait));
      if ((ready & READY.strict) === 0) this.#strict.emptyAt = asked;
      if ((ready & READY.observed) === 0) this.#observed.emptyAt = asked;
      if ((ready & READY.wake) !== 0) this.#messages();
      if ((ready & READY.carried) !== 0) this.#readCarried();
      else this.#carried?.noneWaited(asked);
      if ((ready & READY.told) !== 0) this.#heard(this.#carried?.takeSyns(this.#inspector, now()));
      const own = this.#ballast.taken;
      const strict = (ready & READY.strict) === 0 ? 0 : this.#drain(this.#strict, false);
      const strictAt = this.#receivedAt;
      if (strict > 0) this.#police.batch(strict, this.#program, strictAt);
      const observed = (ready & READY.observed) === 0 ? 0 : this.#drain(this.#observed, true);
      const observedAt = this.#receivedAt;
      this.#inspector.waited = undefined;
      this.#inspector.tick(now());
      this.#strict.flush();
      this.#observed.flush();
      const answered = now();
      this.#tellLearned();
      this.#verdictTimes.add(answered - strictAt, strict - (this.#ballast.taken - own));
      this.#verdictTimes.add(answered - observedAt, observed);
      this.#beat();
    }
    this.#takeBackCarried();
    this.#carried?.finish(this.#opened);
    this.#carried?.close();
    for (const part of [this.#strict, this.#observed, this.#police, this.#border, this.#ballast]) part.close();
    this.#post({ kind: "stopped" });
  }

  verdict(ticket: number, answer: number, replacement: Uint8Array | null): void {
    const slot = this.#waiting.find(ticket);
    if (slot < 0) {
      this.#trouble(`a second verdict for packet ${ticket}`);
      return;
    }
    const from = this.#waiting.queueAt(slot);
    const queue = from === OBSERVED ? this.#observed : this.#strict;
    const id = this.#waiting.idAt(slot);
    const mark = this.#waiting.markAt(slot);
    this.#waiting.removeAt(slot);
    if (answer === UNASKED && this.#former >= 0) {
      queue.requeue(id, this.#former + (queue === this.#observed ? 1 : 0));
      return;
    }
    const instead = from === HOST && replacement !== null ? this.#border.outward(replacement) : replacement;
    const lost = from === HOST && ((replacement !== null && instead === null) || !this.#border.mayGo(ticket));
    const given = from === HOST ? hostAnswer(answer, lost) : answer;
    queue.verdict(id, given > DROP, withWord(this.#marks, mark, answerWord(given, this.#generation)), instead);
  }

  inject(packet: Uint8Array, towards: "client" | "server"): void {
    // Answers must not overtake the verdicts that they go with: the reset belongs behind the held packets.
    const outward = this.#border.active ? this.#border.outward(packet) : packet;
    if (outward !== null) this.#injector.inject(outward, towards);
  }

  resolve(request: ResolveRequest): void {
    this.#post({ kind: "resolve", request });
  }

  record(event: FlowEvent): void {
    this.#ring.write(this.#border.active ? this.#border.outerEvent(event) : event);
  }

  end(flow: FlowTuple): void {
    this.#post({ kind: "end", flow: this.#border.outer(flow) });
  }

  doubt(flows: readonly FlowTuple[]): void {
    this.#post({ kind: "doubted", flows: flows.map((flow) => this.#border.outer(flow)) });
  }

  #drain(queue: Queue, observed: boolean): number {
    const { batch, emptyAt } = queue;
    const count = queue.receive(now());
    const packet = this.#packet;
    packet.bytes = batch.bytes;
    packet.observed = observed;
    let time = now();
    this.#receivedAt = time;
    if (count > 0 && this.#carried?.tells(time)) {
      // A SYN that went by unasked was told of before anything behind it was put into the queue.
      this.#heard(this.#carried?.takeSyns(this.#inspector, time));
      time = now();
    }
    this.#inspector.waited = time - emptyAt;
    for (let i = 0; i < count; i++) {
      const mark = batch.mark[i]!;
      if (!observed && this.#ballast.takes(i)) continue;
      const word = wordOf(this.#marks, mark);
      const from = observed ? OBSERVED : this.#border.place(batch, i, word);
      if (from < 0) {
        this.#inspector.counters.unknownSources++;
        queue.verdict(batch.id[i]!, false, mark);
        continue;
      }
      const ticket = this.#waiting.add(from, batch.id[i]!, mark);
      packet.id = ticket;
      packet.question = word;
      packet.start = batch.offset[i]!;
      packet.end = packet.start + batch.length[i]!;
      try {
        this.#inspector.packet(packet, time);
        if (from === HOST && this.#waiting.find(ticket) >= 0) this.#border.hold(ticket);
      } catch (error) {
        // A fault of ours must not leave the packet without a verdict, nor let it pass.
        if (this.#waiting.find(ticket) >= 0) this.verdict(ticket, DROP, null);
        this.#trouble(textOf(error));
      }
    }
    return count;
  }

  /** A fault of ours costs the record on which it showed, and no more. */
  #heard(fault: unknown): void {
    if (fault !== null && fault !== undefined) this.#trouble(textOf(fault));
  }

  #readCarried(): void {
    const carried = this.#carried;
    if (carried === null) return;
    const asked = now();
    this.#inspector.waited = carried.waited(asked);
    this.#heard(carried.take(this.#opened, asked));
    const missed = carried.missed();
    if (missed !== null) this.#post({ kind: "unrecorded", count: missed });
    if (missed === null && this.#ring.fill <= CROWDED_RING) return;
    const workloads = carried.bar(now());
    if (workloads.length > 0) this.#post({ kind: "barred", workloads });
  }

  readonly #opened = (bytes: Uint8Array, start: number, end: number): void => {
    this.#inspector.opened(bytes, start, end, now());
  };

  /** The kernel opens what the present epoch allows: before the next one it opens nothing. */
  #takeBackCarried(): void {
    const problem = this.#carried?.takeBack(now()) ?? null;
    if (problem !== null) this.#trouble(problem);
  }

  #messages(): void {
    this.#wake.drain();
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      this.#message(next.message as ToLane);
    }
  }

  #message(message: ToLane): void {
    switch (message.kind) {
      case "program": {
        const program = openProgram(message.program);
        this.#takeBackCarried();
        this.#program = program;
        this.#inspector.adopt(program, now(), message.config);
        this.#border.set(message.hostPods);
        this.#pulse[PULSE.epoch] = program.epoch;
        this.#post({ kind: "adopted", epoch: program.epoch });
        return;
      }
      case "resolved":
        this.#inspector.resolved(message.requestId, message.answers, now());
        return;
      case "ended":
        for (const flow of message.flows) this.#inspector.flowEnded(this.#border.inner(flow), message.doubted);
        return;
      case "inUse":
        for (const { workloadId, address } of message.bindings) this.#names.touch(workloadId, address, now());
        return;
      case "bindings":
        this.#restore(message.bindings);
        return;
      case "alone":
        this.#former = -1;
        this.#inspector.beside = false;
        return;
      case "adopted":
        this.#inspector.adopting = false;
        return;
      case "handed":
        this.#recall(message.flows);
        return;
      case "follows":
        this.#post({ kind: "following", flows: this.#inspector.following().map((flow) => this.#border.outer(flow)) });
        return;
      case "stop":
        this.#stopped = true;
    }
  }

  #recall(flows: readonly HandedFlow[]): void {
    const goneOn = this.#inspector.recall(flows, now());
    if (flows.length > 0) this.#post({ kind: "recalled", counts: { goneOn, forgotten: flows.length - goneOn } });
  }

  /** Not told of again: these are known where they came from. */
  #restore(bindings: readonly Binding[]): void {
    const before = this.#learned.length;
    for (const binding of bindings) this.#names.restore(binding, now());
    this.#learned.length = before;
  }

  /** Once a loop, when the verdicts are out: a copy for another thread takes time. */
  #tellLearned(): void {
    if (this.#learned.length === 0) return;
    this.#post({ kind: "learned", bindings: this.#learned });
    this.#learned = [];
  }

  #beat(): void {
    const time = performance.now();
    this.#supervisor.beat(time);
    if (time >= this.#nextSetting) {
      this.#nextSetting = time + SETTING_INTERVAL_MS;
      this.#lookUpSetting(time);
      this.#ballast.tick();
    }
    this.#pulse[PULSE.loops]!++;
    publishLane(this.#pulse, this.#published);
  }

  /** Where conntrack takes any number, a SYN that it let pass proves nothing; others set that too. */
  #lookUpSetting(time: number): void {
    const loose = takesLooseSegments();
    this.#inspector.looseWindows = loose;
    if (loose && this.#carried?.tells(time)) this.#takeBackCarried();
  }

  #trouble(message: string): void {
    const suppressed = this.#troubles.allow(now());
    if (suppressed !== null) this.#post({ kind: "trouble", message, suppressed });
  }

  #post(message: FromLane): void {
    this.#port.postMessage(message);
  }
}
