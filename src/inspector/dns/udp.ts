import type { FlowEvent, FlowTuple } from "../../flow/event.ts";
import { ANSWER } from "../../model/verdict.ts";
import { buildUdp, replaceUdpPayload } from "../../packet/build.ts";
import { destinationAddress, type Packet, sourceAddress } from "../../packet/ip.ts";
import { newUdpDatagram, parseUdp } from "../../packet/udp.ts";
import type { Program } from "../../program/program.ts";
import { type Commands, DROP, type InspectorCounters, type QueuedPacket } from "../contract.ts";
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
  readonly #guard: DnsGuard;
  readonly #commands: DnsUdpOptions["commands"];
  readonly #counters: DnsUdpOptions["counters"];
  readonly #nextFlowId: () => number;
  readonly #datagram = newUdpDatagram();

  constructor(options: DnsUdpOptions) {
    this.#guard = options.guard;
    this.#commands = options.commands;
    this.#counters = options.counters;
    this.#nextFlowId = options.nextFlowId;
  }

  /** A packet of the client, parsed into `packet` from the bytes of `queued`. */
  question(queued: QueuedPacket, packet: Packet, workload: DnsWorkload, now: number): void {
    if (!parseUdp(packet, this.#datagram)) {
      this.#unreadable(queued, isGated(workload));
      return;
    }
    const { payloadStart, payloadEnd } = this.#datagram;
    const flowKey: FlowTuple = {
      protocol: packet.protocol,
      client: sourceAddress(packet),
      server: destinationAddress(packet),
      clientPort: packet.sourcePort,
      serverPort: packet.destinationPort,
    };
    this.#counters.dnsQuestions++;
    const verdict = this.#guard.question({ ...workload, flowKey }, packet.bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "pass") {
      this.#commands.verdict(queued.id, ANSWER.look, null);
      if (verdict.name !== null && !verdict.repeated) this.#record(workload, flowKey, verdict, now);
      return;
    }
    if (verdict.kind === "malformed") this.#counters.malformed++;
    else if (!verdict.silent) this.#counters.dnsDenied++;
    if (verdict.answer === null) {
      // Nothing that could be answered as DNS: the kernel says that it is forbidden.
      this.#commands.verdict(queued.id, ANSWER.reject, null);
    } else {
      this.#commands.inject(answerPacket(flowKey, verdict.answer), "client");
      this.#commands.verdict(queued.id, DROP, null);
    }
    if (verdict.kind === "malformed" || !verdict.silent) this.#record(workload, flowKey, verdict, now);
  }

  /** A packet of the resolver, parsed into `packet` from the bytes of `queued`. */
  answer(queued: QueuedPacket, packet: Packet, workload: DnsWorkload, now: number): void {
    if (!parseUdp(packet, this.#datagram)) {
      this.#unreadable(queued, isGated(workload));
      return;
    }
    const { payloadStart, payloadEnd } = this.#datagram;
    const context: DnsContext = {
      ...workload,
      flowKey: {
        protocol: packet.protocol,
        client: destinationAddress(packet),
        server: sourceAddress(packet),
        clientPort: packet.destinationPort,
        serverPort: packet.sourcePort,
      },
    };
    const verdict = this.#guard.answer(context, packet.bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "drop") {
      if (verdict.why === "Unasked") this.#counters.dnsUnasked++;
      else this.#counters.malformed++;
      this.#commands.verdict(queued.id, DROP, null);
      return;
    }
    if (verdict.patched === null) {
      this.#commands.verdict(queued.id, ANSWER.look, null);
      return;
    }
    const replacement = replaceUdpPayload(packet.bytes.slice(packet.start, packet.end), verdict.patched);
    // Without the replacement the keys would get through: rather no answer.
    this.#commands.verdict(queued.id, replacement === null ? DROP : ANSWER.look, replacement);
  }

  #unreadable(queued: QueuedPacket, isolated: boolean): void {
    this.#counters.malformed++;
    this.#commands.verdict(queued.id, isolated ? DROP : ANSWER.pass, null);
  }

  #record(workload: DnsWorkload, tuple: FlowTuple, verdict: QuestionVerdict, now: number): void {
    this.#commands.record(dnsEvent(this.#nextFlowId(), workload.workloadId, tuple, verdict, now));
  }
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
