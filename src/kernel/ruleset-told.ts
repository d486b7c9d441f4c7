import { ANSWER, BY_GENERATION_1, type Generation, STATE } from "../model/verdict.ts";
import { GENERATION_BIT, TOLD_BIT } from "./marks.ts";
import type { Vocabulary } from "./ruleset.ts";

/** A SYN of 40 bytes behind an IPv6 header, whole. */
export const TOLD_BYTES = 80;
/** SYNs of one message to the agent, and how long fewer wait for more: until a packet of such a flow is asked about, at most. */
export const TOLD_AT_ONCE = 16;
export const TOLD_AFTER_MS = 50;
/** SYNs a second, of all pods together, that pass so; those beyond are asked about, where a flood is policed. */
const TOLD_RATE = 40_000;

/** Counts SYNs that went by unasked. */
export const TOLD_COUNTER = "told";

/** The NFLOG group in which an agent is told of SYNs that went by: two after those of the opened flows. */
export function toldGroupOf(queueNumber: number, generation: Generation): number {
  return queueNumber + 2 + generation;
}

/**
 * SYNs that go on unasked, because the agent let one like it go on undecided a moment ago: from the same pod to the same address and port
 * (docs/adr/0017-told-syns.md). The flow is `looking`, and the agent is told of the SYN before it is asked about anything else of the flow:
 * whatever is asked of a flow that no answer was given about yet pushes out what has been noted for the agent (`tell_now`).
 *
 * Only the SYN that opens an entry: conntrack then lets no SYN-ACK pass that answers another one. And only in the layout of Linux: without data,
 * urgent pointer or IP options, with MSS, SACK permitted, time stamps that echo nothing, and window scale, so that it carries nothing of the pod's
 * invention (docs/adr/0006-held-hellos.md). All others are asked about.
 */
export function toldChains(w: Vocabulary): string {
  const { queueNumber, generation } = w.spec;
  const group = toldGroupOf(queueNumber, generation);
  // Ten words of header, SYN alone or with both ECN bits of RFC 3168 §6.1.1.
  const plain =
    "@th,96,16 { 0xa002, 0xa0c2 } @th,144,16 0 @th,160,16 0x0204 @th,192,32 0x0402080a @th,256,32 0 @th,288,24 0x010303";
  return `
chain told {
ct status ! confirmed ip saddr . ip daddr . tcp dport @told4 ip hdrlength 5 ip length 60 ${plain} goto pass_told
ct status ! confirmed ip6 saddr . ip6 daddr . tcp dport @told6 ip6 nexthdr tcp ip6 length 40 ${plain} goto pass_told
}
chain pass_told {
limit rate over ${TOLD_RATE}/second burst ${TOLD_RATE / 10} packets return
${w.remember(STATE.looking | TOLD_BIT | (generation === 1 ? GENERATION_BIT : 0))}
counter name ${TOLD_COUNTER}
log group ${group} snaplen ${TOLD_BYTES} queue-threshold ${TOLD_AT_ONCE}
accept
}
chain tell_now {
log group ${group} snaplen 1 queue-threshold 1
}`;
}

/** Statement of the rules that ask. */
export function tellNow(w: Vocabulary): string {
  return `ct mark and ${w.word(TOLD_BIT)} != 0 jump tell_now`;
}

export function answerTell(w: Vocabulary): string {
  return `
chain answer_tell {
add @told4 { ip saddr . ip daddr . tcp dport }
add @told6 { ip6 saddr . ip6 daddr . tcp dport }
goto answer_look${w.spec.generation === 1 ? "_1" : ""}
}`;
}

/** What the agent of the other generation answers puts nothing into the sets: the SYNs would be told to this one. */
export function tellDispatch(w: Vocabulary): string[] {
  const [own, other] = w.spec.generation === 1 ? [BY_GENERATION_1, 0] : [0, BY_GENERATION_1];
  return [
    `${w.word(ANSWER.tell | own)} : goto answer_tell`,
    `${w.word(ANSWER.tell | other)} : goto answer_look${other === 0 ? "" : "_1"}`,
  ];
}
