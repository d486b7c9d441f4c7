import { FROM_SERVER, STATE } from "../model/verdict.ts";
import { SYN, type Vocabulary } from "./ruleset.ts";
import { askChains } from "./ruleset-ask.ts";
import { carryChains } from "./ruleset-carry.ts";
import { toldChains } from "./ruleset-told.ts";

const TCP_UDP = "meta l4proto { tcp, udp }";
/** Half of SHA-256 of "HelloRetryRequest". */
const RETRY_RANDOM = "0xcf21ad74e59a6111be1d8c021e65b891";
/** Of QUIC with long headers: RFC 9000 §15, RFC 9369 §3.1. */
const QUIC_VERSIONS = "0x1, 0x6b3343cf";
/** The way back to the sender does not lead to where the packet came from. */
const BORROWED = "fib saddr . iif oif missing";
const SPOOFED = "counter name spoofed drop";
const FOREIGN = "iifname @pod_interfaces counter name foreign drop";

/** The chains between "a packet is here" and "the agent must see it": who speaks, in which direction, what is remembered. */
export function judgeChains(w: Vocabulary): string {
  const unasked = [carryChains(w), toldChains(w)];
  return [carried(), query(w), judge(w), fromPod(w), toPod(w), replies(w), inside(), ...unasked, askChains(w)].join(
    "\n",
  );
}

/**
 * What the kernel carries, past all that must find out whose it is and what it is: most of the packets of a node. What is accepted here would be
 * accepted by `judge`, too; all else goes there, also what comes from where no route leads back.
 */
function carried(): string {
  const quic = `@th,64,2 3 @th,72,32 { ${QUIC_VERSIONS} }`;
  return `
chain carried_flow {
${SYN} return
udp sport 53 return
meta l4proto udp ct direction original ${quic} return
${BORROWED} return
accept
}
chain carried_reply {
ct direction original return
${BORROWED} return
accept
}`;
}

/**
 * A DNS question over UDP, before translation. Conntrack's "reply" is not believed here: a resolver's late answer opens
 * an entry the wrong way round, in which the pod's next question is a reply. Only a flow that somebody outside opened from
 * port 53 is left alone, and what is allowed (the right way round) or rejected already.
 */
function query(w: Vocabulary): string {
  return `
chain query {
${w.standAside}
${w.pods("saddr", "goto query_of_pod")}
${FOREIGN}
}
chain query_of_pod {
${BORROWED} ${SPOOFED}
ct state invalid accept
${w.state} == ${w.word(STATE.rejected)} accept
ct direction original ${w.state} == ${w.word(STATE.allowed)} accept
ct direction reply ${w.state} == ${w.word(STATE.inbound)} accept
goto ask_query
}`;
}

/**
 * What comes in by an interface (`judge_arrival`), and what the node sends itself (`judge`).
 *
 * Nobody borrows an identity. A pod's address must come from where its route leads; what comes out of a pod's
 * interface must bear a pod's address.
 *
 * The answer to an untracked query (a node-local cache is often reached so) has no direction, and the late answer of
 * a resolver that is a pod has the wrong one: the port tells.
 */
function judge(w: Vocabulary): string {
  const untracked = `ct state untracked ${TCP_UDP} th sport 53 jump answer_to_pod`;
  return `
chain judge_arrival {
${w.pods("saddr", "goto judge_pod")}
${FOREIGN}
ct direction reply goto judge_answer
${untracked}
${w.pods("daddr", "goto to_pod")}
}
chain judge_pod {
${BORROWED} ${SPOOFED}
ct direction reply goto judge_reply
${untracked}
goto from_pod
}
chain judge_answer {
${w.pods("daddr", "goto reply_to_pod")}
}
chain judge_reply {
${w.pods("daddr", "goto reply_to_pod")}
goto reply_from_pod
}
chain judge {
ct direction reply goto judge_own_reply
${untracked}
${w.pods("saddr", "goto from_pod")}
${w.pods("daddr", "goto to_pod")}
}
chain judge_own_reply {
${w.pods("daddr", "goto reply_to_pod")}
${w.pods("saddr", "goto reply_from_pod")}
}
chain answer_to_pod {
${w.pods("daddr", "goto ask_from_server")}
}`;
}

/**
 * From a pod, in the direction that opened the flow. No state exempts a SYN (the port may be used anew) nor the
 * opening of a QUIC connection (long header of version 1 or 2, RFC 9000 §17.2, RFC 9369 §3.1). `inbound` says nothing here.
 *
 * An ICMP error quotes as much of a packet as its sender likes. About a flow that is undecided or denied it would be a letter
 * to the server, so a pod may send one only about a flow that is allowed.
 *
 * The node's own address in the pods' range (their gateway) is the node, not a pod: its kubelet is inside only if listed. The
 * agent could not tell, for the address lies in an inside range, so it is refused here.
 *
 * A connection that a conntrack helper expected inherits its master's mark: it is forgotten, for the helper reads
 * what the pod writes.
 */
function fromPod(w: Vocabulary): string {
  return `
chain related_packet {
icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
meta l4proto != { icmp, icmpv6 } ${w.remember(STATE.none)}
}
chain related_from_pod {
meta l4proto { icmp, icmpv6 } ${w.state} != { ${w.word(STATE.none)}, ${w.word(STATE.allowed)}, ${w.word(STATE.http)}, ${w.word(STATE.inbound)} } jump letter
goto related_packet
}
chain letter {
${w.unheld("saddr", "return")}
counter name invalid drop
}
chain from_pod {
ct state vmap { invalid : goto invalid_from_pod, related : jump related_from_pod }
${SYN} goto open_flow
udp sport 53 ct state new jump opens
udp sport 53 jump answer_to_pod
${w.state} vmap { ${w.word(STATE.allowed)} : goto carried, ${w.word(STATE.looking)} : goto followed, ${w.word(STATE.http)} : goto followed, ${w.word(STATE.proving)} : goto followed, ${w.word(STATE.confirming)} : goto ask_remembered, ${w.word(STATE.rejected)} : goto refuse }
goto open_flow
}
chain followed {
meta l4proto tcp jump no_data
goto ask_remembered
}
${noData()}
${bareSynAck()}
chain carried {
meta l4proto udp @th,64,2 3 @th,72,32 { ${QUIC_VERSIONS} } goto ask_remembered
accept
}
chain open_flow {
ct state new jump opens
${TCP_UDP} th dport 53 goto ask_remembered
meta l4proto udp ct original proto-dst 53 goto ask_remembered
meta l4proto tcp ct original proto-dst 53 goto ask_remembered
ip daddr @pod_ranges4 fib daddr type local goto node_itself
ip6 daddr @pod_ranges6 fib daddr type local goto node_itself
jump inside_destination
ct state new ${w.state} == ${w.word(STATE.none)} jump carry
goto ask_remembered
}
chain node_itself {
jump internal_destination
${w.unheld("saddr", "accept")}
goto refuse
}
chain invalid_from_pod {
${w.unheld("saddr", "accept")}
counter name invalid drop
}`;
}

/**
 * A bare acknowledgement of a followed flow goes on unasked. It is a third of the packets of a new connection, and most of
 * those that a client sends during a download whose requests are inspected. Bare means: no flag but ACK, no urgent pointer,
 * exactly as long as its headers, and no option but timestamps in their usual place, so that it carries nothing to an
 * address that is not decided yet. Where acknowledgements prove something the state is `confirming`.
 */
function noData(): string {
  const plain = "@th,96,16 0x5010 @th,144,16 0";
  const timestamps = "@th,96,16 0x8010 @th,144,16 0 @th,160,32 0x0101080a";
  return `
chain no_data {
ip hdrlength 5 ip length 52 ${timestamps} accept
ip hdrlength 5 ip length 40 ${plain} accept
ip6 nexthdr tcp ip6 length 32 ${timestamps} accept
ip6 nexthdr tcp ip6 length 20 ${plain} accept
}`;
}

/**
 * A server's SYN-ACK goes on unasked where it carries nothing but its header: what an agent would learn from it stands in the
 * client's next segment too, and that one is asked about. Bare means: no flag but SYN, ACK and the ECE of RFC 3168, no urgent pointer, no IP
 * options, and as long as its headers say. One that does not fit the connection is invalid to conntrack.
 */
function bareSynAck(): string {
  // Words of header, most common first; the second number is the same with ECE.
  const rules = [10, 8, 6, 7, 9, 5].flatMap((words) => {
    const header = words << 12;
    const plain = `@th,96,16 { 0x${(header | 0x12).toString(16)}, 0x${(header | 0x52).toString(16)} } @th,144,16 0 accept`;
    return [`ip hdrlength 5 ip length ${20 + words * 4} ${plain}`, `ip6 nexthdr tcp ip6 length ${words * 4} ${plain}`];
  });
  return `
chain bare_syn_ack {
${rules.join("\n")}
}`;
}

/**
 * To a pod, in the direction that opened the flow, from what is no pod: somebody outside or the node itself calls.
 * Only a SYN opens a TCP flow: after the loss of an entry the server's next segment would turn the flow around, and
 * the pod's own packets would pass as replies.
 */
function toPod(w: Vocabulary): string {
  return `
chain to_pod {
ct state vmap { invalid : goto invalid_to_pod, related : jump related_packet }
udp sport 53 ip saddr @resolvers4 goto ask_from_server
udp sport 53 ip6 saddr @resolvers6 goto ask_from_server
jump inside_source
${SYN} goto remember_inbound_call
${w.state} vmap { ${w.word(STATE.inbound)} : accept, ${w.word(STATE.allowed)} : accept, ${w.word(STATE.looking)} : goto ask_from_server, ${w.word(STATE.rejected)} : goto refuse }
meta l4proto tcp goto mid_flow
goto remember_inbound_call
}
chain remember_inbound_call {
${w.remember(STATE.inbound)}
accept
}
chain mid_flow {
${w.unheld("daddr", "accept")}
counter name mid_flow reject with tcp reset
}
chain invalid_to_pod {
${w.unheld("daddr", "accept")}
counter name invalid drop
}`;
}

/** Against the direction that opened the flow: first to a pod that asked, then from a pod that was asked. */
function replies(w: Vocabulary): string {
  const word = w.word;
  return `
chain reply_to_pod {
ct state related jump related_reply
${w.state} vmap { ${word(STATE.allowed)} : accept, ${word(STATE.http)} : accept, ${word(STATE.inbound)} : accept, ${word(STATE.looking)} : goto followed_reply, ${word(STATE.proving)} : goto proving_reply, ${word(STATE.confirming)} : goto ask_from_server, ${word(STATE.rejected)} : goto refuse_reply }
${TCP_UDP} th sport 53 goto ask_from_server
meta l4proto udp ct original proto-dst 53 goto ask_from_server
meta l4proto tcp ct original proto-dst 53 goto ask_from_server
jump inside_source
goto ask_from_server
}
chain followed_reply {
meta l4proto tcp tcp flags & (syn | ack) == syn | ack jump bare_syn_ack
meta l4proto tcp jump no_data
goto ask_from_server
}
chain proving_reply {
meta l4proto tcp jump server_hello
goto followed_reply
}
${serverHello(w)}
chain reply_from_pod {
ct state related jump related_reply
${w.state} vmap { ${word(STATE.allowed)} : accept, ${word(STATE.inbound)} : accept, ${word(STATE.rejected)} : goto refuse_reply }
${w.state} == 0 jump inside_destination
${w.gain(FROM_SERVER)}
goto ask_remembered
}
chain related_reply {
icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
}`;
}

/**
 * Hands a flow over: the server's segment begins with a handshake record that is long enough for a whole ServerHello (RFC 8446 §4.1.3; TLS 1.2
 * and 1.3), so that its random lies in one piece, and that is not the one of a HelloRetryRequest: the first half of it is enough
 * to tell. Without TCP options, or with time stamps. Offsets are bits from the TCP header on; a segment that is shorter does not match.
 */
function serverHello(w: Vocabulary): string {
  const rules = [8, 5].map((words) => {
    const start = words * 32;
    const flags = [0x10, 0x18].map((bits) => `0x${((words << 12) | bits).toString(16)}`).join(", ");
    const header = `@th,96,16 { ${flags} } @th,144,16 0 @th,${start},16 0x1603 @th,${start + 24},16 >= 42`;
    const message = `@th,${start + 40},16 0x0200 @th,${start + 72},16 0x0303 @th,${start + 88},128 != ${RETRY_RANDOM}`;
    return `${header} ${message} goto proven`;
  });
  return `
chain server_hello {
${rules.join("\n")}
}
chain proven {
${w.remember(STATE.allowed)}
accept
}`;
}

function inside(): string {
  return `
chain inside_destination {
ip daddr @inside4 accept
ip6 daddr @inside6 accept
goto internal_destination
}
chain internal_destination {
ip daddr . meta l4proto . th dport @internal_endpoints4 accept
ip6 daddr . meta l4proto . th dport @internal_endpoints6 accept
}
chain inside_source {
ip saddr @inside4 accept
ip6 saddr @inside6 accept
ip saddr . meta l4proto . th sport @internal_endpoints4 accept
ip6 saddr . meta l4proto . th sport @internal_endpoints6 accept
}`;
}
