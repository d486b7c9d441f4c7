import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import type { Action, Decision, Reason } from "../model/decision.ts";
import type { Address } from "../net/address.ts";

/**
 * One queued packet, as the loop hands it in. The object and its `bytes` are borrowed: both are overwritten after the call,
 * so whatever must outlive it (inspected bytes) is copied. Every packet gets exactly one verdict, now or later (held).
 */
export interface QueuedPacket {
  /** NFQUEUE packet id, unique among the packets that wait. */
  id: number;
  /** The question: masked bits of the packet mark, shifted down (model/verdict.ts). */
  question: number;
  bytes: Uint8Array;
  /** First byte of the IP header, and the byte after the last one captured. */
  start: number;
  end: number;
  /** True on the queue of observed workloads, which nobody holds back or cuts. */
  observed: boolean;
}

/** What the inspector tells the loop to do. Tests pass a sink that writes a transcript. */
export interface Commands {
  /** `answer` is one of ANSWER, or DROP, or UNASKED. `replacement` is a whole IP packet that goes out instead. */
  verdict(packetId: number, answer: number, replacement: Uint8Array | null): void;
  /**
   * Sends a whole IP packet from the node, in the addresses that the forward hook sees (FlowTuple); the loop puts in the
   * address that the pod asked where conntrack translated it. `towards` says to which end of the flow.
   */
  inject(packet: Uint8Array, towards: "client" | "server"): void;
  /** Asks the agent's own resolver (A and AAAA) for these names; `Inspector.resolved` brings the answer. */
  resolve(request: ResolveRequest): void;
  record(event: FlowEvent): void;
  /** Marks the conntrack entry of a flow rejected and probes both ends, so that each resets at once. */
  end(flow: FlowTuple): void;
  /** Nothing has been heard of these for a while: `Inspector.flowEnded` takes those that conntrack does not know. */
  doubt(flows: readonly FlowTuple[]): void;
}

export const DROP = 0;
/** Instead of an answer: drop it, an answer to a question that is not known here; another agent may have let that pass. */
export const UNASKED = -1;

export interface ResolveRequest {
  readonly id: number;
  readonly workloadId: number;
  readonly names: readonly string[];
}

export interface Resolved {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly addresses: readonly Address[];
  /** Seconds. */
  readonly ttl: number;
}

/** Counted by the inspector, read by the loop; monotonic. */
export interface InspectorCounters {
  packets: number;
  malformed: number;
  held: number;
  ambiguousCopies: number;
  droppedCopies: number;
  limitReached: number;
  unknownSources: number;
  dnsQuestions: number;
  dnsDenied: number;
  dnsUnasked: number;
  resolutions: number;
}

export type { Action, Decision, FlowEvent, FlowTuple, Reason };
