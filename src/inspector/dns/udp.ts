import type { FlowEvent, FlowTuple } from "../../flow/event.ts";
import { ANSWER } from "../../model/verdict.ts";
import { buildUdp, replaceUdpPayload } from "../../packet/build.ts";
import { destinationAddress, type Packet, sourceAddress } from "../../packet/ip.ts";
import { newUdpDatagram, parseUdp } from "../../packet/udp.ts";
import type { Program } from "../../program/program.ts";
import { type Commands, DROP, type InspectorCounters } from "../contract.ts";
import { type DnsContext, type DnsGuard, isGated, type QuestionVerdict } from "./guard.ts";

/** What DNS over UDP needs of the lane. `program` is read anew for each packet. */
export interface DnsUdpLane {
  readonly program: Program;
  readonly dns: DnsGuard;
  readonly commands: Pick<Commands, "verdict" | "inject" | "record">;
  readonly counters: Pick<InspectorCounters, "malformed" | "dnsQuestions" | "dnsDenied" | "dnsUnasked">;
  newFlowId(): number;
}

/** A parsed packet that waits for its verdict. */
export interface DnsArrival {
  readonly id: number;
  readonly fromServer: boolean;
  readonly packet: Packet;
}

/**
 * DNS over UDP between a workload and a trusted resolver, packet by packet. Every packet gets its verdict at once and the
 * flow stays `looking`, so that both directions go on being questioned; untracked packets are questioned anyway. That an answer comes
 * from a trusted resolver is known to the caller (the TO_RESOLVER bit).
 */
export class DnsUdp {
  readonly #lane: DnsUdpLane;
  readonly #datagram = newUdpDatagram();

  constructor(lane: DnsUdpLane) {
    this.#lane = lane;
  }

  packet(arrival: DnsArrival, workloadId: number, cls: number, now: number): void {
    const { commands, counters, program } = this.#lane;
    const { packet } = arrival;
    if (!parseUdp(packet, this.#datagram)) {
      counters.malformed++;
      commands.verdict(arrival.id, isGated({ program, cls }) ? DROP : ANSWER.pass, null);
      return;
    }
    const flowKey = flowOf(packet, arrival.fromServer);
    const context: DnsContext = { workloadId, cls, program, flowKey };
    if (arrival.fromServer) this.#answer(arrival, context, now);
    else this.#question(arrival, context, now);
  }

  #question(arrival: DnsArrival, context: DnsContext, now: number): void {
    const { commands, counters, dns } = this.#lane;
    const { payloadStart, payloadEnd } = this.#datagram;
    counters.dnsQuestions++;
    const verdict = dns.question(context, arrival.packet.bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "pass") {
      commands.verdict(arrival.id, ANSWER.look, null);
      if (verdict.name !== null && !verdict.repeated) this.#record(context, verdict, now);
      return;
    }
    const silent = verdict.kind === "deny" && verdict.silent;
    if (verdict.kind === "malformed") counters.malformed++;
    if (!silent) counters.dnsDenied++;
    if (verdict.answer === null) {
      // Nothing that could be answered as DNS: the kernel says that it is forbidden.
      commands.verdict(arrival.id, ANSWER.reject, null);
    } else {
      commands.inject(answerPacket(context.flowKey, verdict.answer), "client");
      commands.verdict(arrival.id, DROP, null);
    }
    if (!silent) this.#record(context, verdict, now);
  }

  #answer(arrival: DnsArrival, context: DnsContext, now: number): void {
    const { commands, counters, dns } = this.#lane;
    const { payloadStart, payloadEnd } = this.#datagram;
    const { bytes, start, end } = arrival.packet;
    const verdict = dns.answer(context, bytes, payloadStart, payloadEnd, now);
    if (verdict.kind === "drop") {
      if (verdict.why === "Unasked") counters.dnsUnasked++;
      else counters.malformed++;
      commands.verdict(arrival.id, DROP, null);
      return;
    }
    if (verdict.patched === null) {
      commands.verdict(arrival.id, ANSWER.look, null);
      return;
    }
    const replacement = replaceUdpPayload(bytes.slice(start, end), verdict.patched);
    // Without the replacement the keys would get through: rather no answer.
    commands.verdict(arrival.id, replacement === null ? DROP : ANSWER.look, replacement);
  }

  #record({ workloadId, flowKey }: DnsContext, verdict: QuestionVerdict, now: number): void {
    this.#lane.commands.record(dnsEvent(this.#lane.newFlowId(), workloadId, flowKey, verdict, now));
  }
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
