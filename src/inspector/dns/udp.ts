import type { FlowEvent, FlowTuple } from "../../flow/event.ts";
import { ANSWER } from "../../model/verdict.ts";
import { buildUdp, replaceUdpPayload } from "../../packet/build.ts";
import { destinationAddress, type Packet, sourceAddress } from "../../packet/ip.ts";
import { newUdpDatagram, parseUdp } from "../../packet/udp.ts";
import type { Program } from "../../program/program.ts";
import { type Commands, DROP, type InspectorCounters, type QueuedPacket, UNASKED } from "../contract.ts";
import { type DnsContext, type DnsGuard, isGated, type QuestionVerdict } from "./guard.ts";

export interface DnsUdpOptions {
  readonly guard: DnsGuard;
  readonly commands: Pick<Commands, "verdict" | "inject" | "record">;
  readonly counters: Pick<InspectorCounters, "malformed" | "dnsQuestions" | "dnsDenied" | "dnsUnasked">;
  readonly nextFlowId: () => number;
}

/** Whose packet it is. */
export interface DnsWorkload {
  readonly workloadId: number;
  readonly cls: number;
  readonly program: Program;
}

/**
 * DNS over UDP between a workload and a trusted resolver, packet by packet. Every packet gets its verdict at once and the
 * flow stays `looking`, so that both directions go on being questioned; untracked packets are questioned anyway. That an answer comes
 * from a trusted resolver is known to the caller (the TO_RESOLVER bit, or the source address of an untracked packet).
 */
export class DnsUdp {
  readonly #options: DnsUdpOptions;
  readonly #datagram = newUdpDatagram();

  constructor(options: DnsUdpOptions) {
    this.#options = options;
  }

  /** A packet of the client; `packet` is the parsed packet of `queued`. */
  question(queued: Pick<QueuedPacket, "id">, packet: Packet, workload: DnsWorkload, now: number): void {
    if (!this.#read(queued.id, packet, workload)) return;
    this.#question(queued.id, packet, contextOf(workload, packet, false), now);
  }

  /** A packet of the resolver; `packet` is the parsed packet of `queued`. */
  answer(queued: Pick<QueuedPacket, "id">, packet: Packet, workload: DnsWorkload, now: number): void {
    if (!this.#read(queued.id, packet, workload)) return;
    this.#answer(queued.id, packet, contextOf(workload, packet, true), now);
  }

  #read(id: number, packet: Packet, workload: DnsWorkload): boolean {
    if (parseUdp(packet, this.#datagram)) return true;
    this.#options.counters.malformed++;
    this.#options.commands.verdict(id, isGated(workload) ? DROP : ANSWER.pass, null);
    return false;
  }

  #question(id: number, packet: Packet, context: DnsContext, now: number): void {
    const { commands, counters, guard } = this.#options;
    const { payloadStart, payloadEnd } = this.#datagram;
    counters.dnsQuestions++;
    const verdict = guard.question(context, packet.bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "pass") {
      commands.verdict(id, ANSWER.look, null);
      if (verdict.name !== null && !verdict.repeated) this.#record(context, verdict, now);
      return;
    }
    const silent = verdict.kind === "deny" && verdict.silent;
    if (verdict.kind === "malformed") counters.malformed++;
    if (!silent) counters.dnsDenied++;
    if (verdict.answer === null) {
      // Nothing that could be answered as DNS: the kernel says that it is forbidden.
      commands.verdict(id, ANSWER.reject, null);
    } else {
      commands.inject(answerPacket(context.flowKey, verdict.answer), "client");
      commands.verdict(id, DROP, null);
    }
    if (!silent) this.#record(context, verdict, now);
  }

  #answer(id: number, packet: Packet, context: DnsContext, now: number): void {
    const { commands, counters, guard } = this.#options;
    const { payloadStart, payloadEnd } = this.#datagram;
    const { bytes, start, end } = packet;
    const verdict = guard.answer(context, bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "drop") {
      if (verdict.why === "Unasked") counters.dnsUnasked++;
      else counters.malformed++;
      commands.verdict(id, verdict.why === "Unasked" ? UNASKED : DROP, null);
      return;
    }
    if (verdict.patched === null) {
      commands.verdict(id, ANSWER.look, null);
      return;
    }
    const replacement = replaceUdpPayload(bytes.slice(start, end), verdict.patched);
    // Without the replacement the keys would get through: rather no answer.
    commands.verdict(id, replacement === null ? DROP : ANSWER.look, replacement);
  }

  #record({ workloadId, flowKey }: DnsContext, verdict: QuestionVerdict, now: number): void {
    this.#options.commands.record(dnsEvent(this.#options.nextFlowId(), workloadId, flowKey, verdict, now));
  }
}

function contextOf({ workloadId, cls, program }: DnsWorkload, packet: Packet, fromServer: boolean): DnsContext {
  return { workloadId, cls, program, flowKey: flowOf(packet, fromServer) };
}

function flowOf(packet: Packet, fromServer: boolean): FlowTuple {
  const source = sourceAddress(packet);
  const destination = destinationAddress(packet);
  const { protocol, sourcePort, destinationPort } = packet;
  return fromServer
    ? { protocol, client: destination, server: source, clientPort: destinationPort, serverPort: sourcePort }
    : { protocol, client: source, server: destination, clientPort: sourcePort, serverPort: destinationPort };
}

/** The record of a judged question, whatever carried it. */
export function dnsEvent(
  flowId: number,
  workloadId: number,
  tuple: FlowTuple,
  verdict: QuestionVerdict,
  now: number,
): FlowEvent {
  const malformed = verdict.kind === "malformed";
  return {
    kind: "dns",
    flowId,
    time: now,
    workloadId,
    tuple,
    application: "DNS",
    name: malformed ? null : verdict.name,
    method: null,
    path: null,
    decision: malformed ? { action: "Deny", policy: null, rule: null, reason: "Malformed" } : verdict.decision,
    audit: malformed ? null : verdict.audit,
    facts: null,
    state: "none",
  };
}

/** From the address and port that the pod asked. */
function answerPacket(flow: FlowTuple, answer: Uint8Array): Uint8Array {
  return buildUdp({
    source: flow.server,
    destination: flow.client,
    sourcePort: flow.serverPort,
    destinationPort: flow.clientPort,
    payload: answer,
  });
}
