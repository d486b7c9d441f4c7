import { DecisionMemo } from "../decide/memo.ts";
import type { AgentConfig } from "../model/config.ts";
import { ANSWER } from "../model/verdict.ts";
import type { NameTable } from "../names/table.ts";
import type { Packet } from "../packet/ip.ts";
import type { TcpSegment } from "../packet/tcp.ts";
import type { Program } from "../program/program.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { CarriedPairs } from "./carried-pairs.ts";
import { type Commands, DROP, type InspectorCounters } from "./contract.ts";
import type { DatagramFlow } from "./datagram-flow.ts";
import { Deadlines } from "./deadlines.ts";
import type { DnsGuard } from "./dns/guard.ts";
import { FlowTable } from "./flow-table.ts";
import { KeptHellos } from "./kept-hellos.ts";
import { LatelyAllowed } from "./lately-allowed.ts";
import { WorkloadUse } from "./limits.ts";
import { Recollection } from "./recollection.ts";
import type { RequestBoundaries } from "./request-boundaries.ts";
import { Resolutions } from "./resolutions.ts";
import { SynCrowd } from "./syn-crowd.ts";
import { SynDoubt } from "./syn-doubt.ts";
import type { TcpFlow } from "./tcp-flow.ts";
import { UntrackedFlows } from "./untracked-flows.ts";

export type AnyFlow = TcpFlow | DatagramFlow;

/** The packet that is being judged: views of the parsed headers, reused from packet to packet. */
export interface Arrival {
  id: number;
  fromServer: boolean;
  toResolver: boolean;
  remembered: number;
  readonly packet: Packet;
  readonly segment: TcpSegment;
}

export interface LaneOptions {
  readonly program: Program;
  readonly names: NameTable;
  readonly dns: DnsGuard;
  readonly config: AgentConfig;
  readonly commands: Commands;
  readonly adopting: boolean;
  readonly seed: number;
  readonly firstFlowId: number;
  readonly run: string;
  /** Where HTTP flows stand between requests, in memory that outlives the agent; null: that dies with it. */
  readonly boundaries?: RequestBoundaries | null;
  /** What the kernel may open itself; null: nothing, for nobody would be told of it. */
  readonly carried?: CarriedPairs | null;
  /** SYNs that may go on unasked; null: none, for the same reason. */
  readonly told?: CarriedPairs | null;
}

/** What the parts of the inspector share: the epoch, the tables, the bounds, and where commands go. */
export class Lane {
  program: Program;
  config: AgentConfig;
  adopting: boolean;
  /** Conntrack lets segments pass whose numbers do not fit (`nf_conntrack_tcp_be_liberal`). */
  looseWindows = false;
  /** Of the packet that is handed over just now (see FlowEvent). */
  waited: number | undefined = undefined;
  /** Another agent is asked too: of a SYN beside one that is told of, only that one may know. */
  beside = false;
  readonly names: NameTable;
  readonly dns: DnsGuard;
  readonly commands: Commands;
  /** Names this run of the agent in flow ids, as the flow log does. */
  readonly run: string;
  readonly flows: FlowTable<AnyFlow>;
  readonly latelyAllowed: LatelyAllowed;
  /** Of flows that the kernel hands over by itself. */
  readonly hellos: KeptHellos;
  readonly deadlines = new Deadlines<AnyFlow>();
  readonly resolutions = new Resolutions();
  readonly buffers = new BufferPool();
  readonly memo = new DecisionMemo();
  readonly boundaries: RequestBoundaries | null;
  readonly carried: CarriedPairs | null;
  readonly told: CarriedPairs | null;
  readonly syns = new SynCrowd();
  readonly synDoubt = new SynDoubt();
  readonly untracked = new UntrackedFlows();
  /** Flows of an agent that died, until it is known which of them are still there. */
  recollection: Recollection | null = null;
  readonly use: WorkloadUse;
  readonly counters: InspectorCounters = newCounters();
  #unproves: TcpFlow | null = null;
  #nextFlowId: number;

  constructor(options: LaneOptions) {
    this.program = options.program;
    this.names = options.names;
    this.dns = options.dns;
    this.config = options.config;
    this.commands = options.commands;
    this.run = options.run;
    this.adopting = options.adopting;
    this.boundaries = options.boundaries ?? null;
    this.carried = options.carried ?? null;
    this.told = options.told ?? null;
    if (this.boundaries !== null) this.recollection = new Recollection(this.boundaries, options.seed);
    this.flows = new FlowTable<AnyFlow>(options.seed);
    this.hellos = new KeptHellos(options.seed);
    this.latelyAllowed = new LatelyAllowed(options.seed);
    this.use = new WorkloadUse(options.config.limits);
    this.#nextFlowId = options.firstFlowId;
  }

  newFlowId(): number {
    return this.#nextFlowId++;
  }

  answer(id: number, answer: number): void {
    if (answer === ANSWER.pass && this.#unproves !== null) {
      this.#unproves.proving = false;
      this.commands.verdict(id, ANSWER.unprove, null);
      return;
    }
    this.commands.verdict(id, answer, null);
  }

  /** Until it is called with null, what passes takes the flow out of `proving`. */
  unprove(flow: TcpFlow | null): void {
    this.#unproves = flow;
  }

  drop(id: number): void {
    this.commands.verdict(id, DROP, null);
  }
}

function newCounters(): InspectorCounters {
  return {
    packets: 0,
    malformed: 0,
    held: 0,
    ambiguousCopies: 0,
    droppedCopies: 0,
    limitReached: 0,
    unknownSources: 0,
    dnsQuestions: 0,
    dnsDenied: 0,
    dnsUnasked: 0,
    resolutions: 0,
  };
}
