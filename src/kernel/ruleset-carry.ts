import { ANSWER, BY_GENERATION_1, STATE } from "../model/verdict.ts";
import { CARRIED_COUNTER, logGroupOf, type Vocabulary } from "./ruleset.ts";

/** Bytes of the first packet that are logged: IPv6 header and ports, rounded up. */
export const LOGGED_BYTES = 48;
/** Flows of one message to the agent, and how long fewer wait for more. */
export const LOGGED_AT_ONCE = 64;
export const LOGGED_AFTER_MS = 50;

/**
 * New flows that the kernel opens itself, because the agent allowed one like it a moment ago: from the same pod to the same
 * address, protocol and port (docs/adr/0014-carried-flows.md). Only what an agent would decide on just these reaches the set:
 *
 * - TCP: a SYN. UDP: not what could be QUIC (form bit, RFC 8999 §5.1), for that has a name to show.
 * - IPv4 without options, IPv6 without extension headers: what may lead the packet elsewhere is for the agent to read.
 * - An entry in which nothing is remembered: a port that is used again is asked about (EVASION 14).
 *
 * Each is logged for the agent, which decides it again and records it.
 */
export function carryChains(w: Vocabulary): string {
  const { queueNumber, generation } = w.spec;
  const group = logGroupOf(queueNumber, generation);
  return `
chain carry {
meta l4proto udp goto carry_datagram
tcp flags & (fin | syn | rst | ack | urg) == syn goto carry_syn
}
chain carry_syn {
jump told
goto carry_known
}
chain carry_datagram {
@th,64,1 1 return
goto carry_known
}
chain carry_known {
ip hdrlength 5 ip saddr . ip daddr . meta l4proto . th dport @carry4 goto open_carried
ip6 nexthdr { tcp, udp } ip6 saddr . ip6 daddr . meta l4proto . th dport @carry6 goto open_carried
}
chain open_carried {
${w.remember(STATE.allowed)}
counter name ${CARRIED_COUNTER}
log group ${group} snaplen ${LOGGED_BYTES} queue-threshold ${LOGGED_AT_ONCE}
accept
}`;
}

/** `add` leaves an element that is there as it is: its end does not move. Where the set is full the flow is allowed all the same. */
export function answerCarry(): string {
  return `
chain answer_carry {
add @carry4 { ip saddr . ip daddr . meta l4proto . th dport }
add @carry6 { ip6 saddr . ip6 daddr . meta l4proto . th dport }
goto answer_allow
}`;
}

/** What the agent of the other generation answers puts nothing into the set: the flows would be told to this one. */
export function carryDispatch(w: Vocabulary): string[] {
  const own = w.spec.generation === 1 ? BY_GENERATION_1 : 0;
  return [
    `${w.word(ANSWER.carry | own)} : goto answer_carry`,
    `${w.word(ANSWER.carry | (BY_GENERATION_1 ^ own))} : goto answer_allow`,
  ];
}
