import type { FlowTuple } from "../flow/event.ts";
import type { Resolved, ResolveRequest } from "../inspector/contract.ts";
import type { HandedFlow } from "../inspector/recall.ts";
import type { AgentConfig } from "../model/config.ts";
import type { Generation } from "../model/verdict.ts";
import type { Binding } from "../names/table.ts";
import type { Address } from "../net/address.ts";
import type { ProgramData } from "../program/layout.ts";
import type { HostPod } from "./host-network/border.ts";

/** What the lane is started with. */
export interface LaneStart {
  readonly program: ProgramData;
  readonly config: AgentConfig;
  /** Those on the host's network that are held. */
  readonly hostPods: readonly HostPod[];
  readonly generation: Generation;
  /** The agent before this one listens too. */
  readonly former: boolean;
  /** What the workloads had resolved before this lane. */
  readonly bindings: readonly Binding[];
  /** Flow records leave through this ring (flow/ring.ts). */
  readonly ring: SharedArrayBuffer;
  readonly pulse: SharedArrayBuffer;
  /** eventfd that the main thread signals after each message. */
  readonly wakeFd: number;
  readonly adopting: boolean;
  /** Secret of this run for hash tables that hostile keys reach. */
  readonly seed: number;
  /** Names this run of the agent in flow ids. */
  readonly run: string;
  /** Where the lane tells the supervisor that it lives; -1: nobody listens. */
  readonly beatDescriptor: number;
  /** First flow id; a lane that replaces another goes on counting. */
  readonly firstFlowId: number;
  /** File of the request boundaries; null: there is no folder for it. */
  readonly boundaries: string | null;
}

export type ToLane =
  | {
      readonly kind: "program";
      readonly program: ProgramData;
      readonly config: AgentConfig;
      readonly hostPods: readonly HostPod[];
    }
  | { readonly kind: "resolved"; readonly requestId: number; readonly answers: readonly Resolved[] }
  /** `doubted`: conntrack does not know these of the doubted ones; else it has told how they ended. */
  | { readonly kind: "ended"; readonly flows: readonly FlowTuple[]; readonly doubted: boolean }
  | { readonly kind: "inUse"; readonly bindings: readonly { workloadId: number; address: FlowTuple["server"] }[] }
  /** What the agent before this one learned last. */
  | { readonly kind: "bindings"; readonly bindings: readonly Binding[] }
  /** The agent before this one listens no more. */
  | { readonly kind: "alone" }
  | { readonly kind: "adopted" }
  /** HTTP flows that conntrack knows: once after each start of a lane. */
  | { readonly kind: "handed"; readonly flows: readonly HandedFlow[] }
  /** Asks for `following`. */
  | { readonly kind: "follows" }
  | { readonly kind: "stop" };

export type FromLane =
  /** Queues are bound; the sockets belong to the process and outlive a lane that dies, so main may close them. */
  | { readonly kind: "bound"; readonly fds: readonly number[] }
  | { readonly kind: "adopted"; readonly epoch: number }
  | { readonly kind: "resolve"; readonly request: ResolveRequest }
  | { readonly kind: "end"; readonly flow: FlowTuple }
  /** Bindings that are new, or live notably longer than was last told. */
  | { readonly kind: "learned"; readonly bindings: readonly Binding[] }
  /** HTTP flows that were there before: those that go on, and those whose place nobody knows. */
  | { readonly kind: "recalled"; readonly counts: { readonly goneOn: number; readonly forgotten: number } }
  /** What this pod asks beyond the rate is dropped from now on. */
  | { readonly kind: "policed"; readonly address: Address; readonly perSecond: number }
  /** These opened more flows by the kernel's leave than could be recorded: for a while they are asked about each. */
  | { readonly kind: "barred"; readonly workloads: readonly number[] }
  /** Flows that the kernel opened, and whose record did not come through; 0: it is not known yet how many. */
  | { readonly kind: "unrecorded"; readonly count: number }
  /** The TCP flows that the lane follows. */
  | { readonly kind: "following"; readonly flows: readonly FlowTuple[] }
  /** Connections of which the lane has heard nothing for a while. */
  | { readonly kind: "doubted"; readonly flows: readonly FlowTuple[] }
  | { readonly kind: "trouble"; readonly message: string; readonly suppressed: number }
  | { readonly kind: "stopped" };

/** Slots of the pulse, 64-bit floats: written by the lane, read by anyone. */
export const PULSE = {
  loops: 0,
  packets: 1,
  lostVerdicts: 2,
  refusedVerdicts: 3,
  injectErrors: 4,
  epoch: 5,
  bindings: 6,
  evicted: 7,
  flows: 8,
  waiting: 9,
  malformed: 10,
  held: 11,
  ambiguousCopies: 12,
  droppedCopies: 13,
  limitReached: 14,
  unknownSources: 15,
  dnsQuestions: 16,
  dnsDenied: 17,
  dnsUnasked: 18,
  resolutions: 19,
  carriedRead: 20,
  synsRead: 21,
  synsLost: 22,
  ballast: 23,
  /** LATENCY_SLOTS of them (metrics/latency.ts). */
  verdictTimes: 24,
} as const;
export const PULSE_SLOTS = 64;
