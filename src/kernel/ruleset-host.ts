import { STATE } from "../model/verdict.ts";
import { HOST_TAG, JUDGED } from "./host-table.ts";
import { ASKED } from "./marks.ts";
import type { Vocabulary } from "./ruleset.ts";

/** Questions a second of one pod of the host's network, and how many at once: they pass no rule that counts by address. */
const HOST_RATE = 4_000;
const HOST_BURST = 500;
/** Of answers to all of them together. */
const HOST_ANSWERS = 8_000;
const MOST_PODS = 1_024;
/** Ports of which it is known whose they are. Of a flow whose port finds no room every packet is asked about. */
const MOST_OWNED = 65_536;
const OWNED_FOR = "120s";
/** What they make of a packet meets the output hook again, with the socket of the first. */
const TUNNELS = ["vxlan", "geneve", "ipip", "ip6tnl", "sit", "gre", "ip6gre", "wireguard", "bridge", "openvswitch"]
  .map((kind) => `"${kind}"`)
  .join(", ");

/**
 * Behind the translation of destinations (-100), so that a Service that leads outside is judged by where it leads; the `security` table of xtables lies
 * between the two (50 in the kernel's own words, 150 as iptables-nft makes it).
 */
const QUESTION_PRIORITY = 40;
const ANSWER_PRIORITY = 160;

/**
 * Pods on the host's network (docs/adr/0025-host-network-pods.md). All of this is there only where there is one that policies hold; it is met by what the
 * node itself sends and gets, never by a forwarded packet. The table of the groups (host-table.ts) has put a tag into the packet's priority.
 */
function held(yes = true): string {
  return `meta priority and ${HOST_TAG} ${yes ? "!=" : "=="} 0`;
}

/** Of flows without connection: whose a port of the node is. All of these pods, and the node, have one address. */
export const HOST_OWNERS = "host_owners";
const OWNER = "meta l4proto . th sport . meta priority";
const OWN = `update @${HOST_OWNERS} { ${OWNER} }`;

export function hostSets(w: Vocabulary): string {
  if (w.spec.hostPods !== true) return "";
  return `set ${HOST_OWNERS} {
typeof ${OWNER}
flags dynamic,timeout
size ${MOST_OWNED}
timeout ${OWNED_FOR}
}
set host_rates {
type classid
flags dynamic,timeout
size ${MOST_PODS}
timeout 60s
limit rate over ${HOST_RATE}/second burst ${HOST_BURST} packets
}`;
}

/**
 * In the output hook, before translation: DNS over UDP is judged as the pod asked it, as in prerouting. Where the node itself sends by ports that such a pod
 * had a moment ago, the entry is the node's from here on: its answers are nobody's to judge.
 */
export function hostQueryRule(w: Vocabulary): string {
  if (w.spec.hostPods !== true) return "";
  return `udp dport 53 ${held()} goto host_query
meta l4proto udp ct direction original ${w.state} != { ${w.word(STATE.none)}, ${w.word(STATE.inbound)} } ${held(false)} jump host_left`;
}

/** There, behind the agent: the next hook does not ask again. */
export function hostQueryAnswer(w: Vocabulary): string {
  if (w.spec.hostPods !== true) return "";
  return `udp dport 53 ${held()} meta mark and ${w.mask} != 0 ${OWN} goto answer_query`;
}

/**
 * In the input hook: answers to what such a pod opened, from outside or from a pod (a resolver). Nothing but the flows of these pods has one of these
 * states and the node as its client.
 */
export function hostReplyRule(w: Vocabulary): string {
  if (w.spec.hostPods !== true) return "";
  return `ct direction reply ${w.state} != { ${w.word(STATE.none)}, ${w.word(STATE.inbound)} } goto host_reply`;
}

/**
 * What is remembered of a flow is remembered of its ports and addresses, which another pod of the host's network can have a moment later, or at the same
 * time (SO_REUSEPORT): it holds for the pod to whom the agent answered last by that port, and for no other; the lane takes the port from whoever had it
 * before (agent/host-network/port-keeper.ts). Of TCP a SYN is asked about always, and whose socket sends without one has the connection.
 *
 * Answers to flows that others opened to the pod are no egress. The tag goes with the last hook: what the packet had for a priority is lost, and is
 * seldom anything but 0.
 */
export function hostChains(w: Vocabulary): string {
  if (w.spec.hostPods !== true) return "";
  const ours = `meta mark and ${w.mask}`;
  return `
chain host_query {
ct state invalid accept
${w.state} == ${w.word(STATE.rejected)} accept
ct direction original ${w.state} == ${w.word(STATE.allowed)} accept
ct direction reply accept
goto ask_query
}
chain host_left {
${w.pods("saddr", "return")}
${w.remember(STATE.none)}
}
chain host_reply {
${w.pods("saddr", "goto host_reply_of_pod")}
iifname @pod_interfaces counter name foreign drop
goto reply_to_pod
}
chain host_reply_of_pod {
fib saddr . iif oif missing counter name spoofed drop
goto reply_to_pod
}
chain host_question {
type filter hook output priority ${QUESTION_PRIORITY}; policy accept;
${held(false)} accept
${ours} == ${w.word(ASKED)} ${w.clear} accept
oif lo accept
${w.standAside}
ct direction reply ${w.state} == ${w.word(STATE.rejected)} goto refuse_reply
ct direction reply accept
meta l4proto != tcp ${w.state} != { ${w.word(STATE.none)}, ${w.word(STATE.inbound)} } ${OWNER} != @${HOST_OWNERS} ${w.remember(STATE.none)}
goto from_pod
}
chain host_answer {
type filter hook output priority ${ANSWER_PRIORITY}; policy accept;
${held(false)} accept
${ours} != 0 meta l4proto != tcp ${OWN}
meta priority set 0
meta oifkind { ${TUNNELS} } meta priority set ${JUDGED}
rt ipsec exists meta priority set ${JUDGED}
${ours} != 0 goto answer
}`;
}

/** Before what all unknown sources share: a pod of the host's network has a rate of its own. */
export function hostPolice(w: Vocabulary): {
  readonly sender: string;
  readonly receiver: string;
  readonly chains: string;
} {
  if (w.spec.hostPods !== true) return { sender: "", receiver: "police_unknown", chains: "" };
  return {
    sender: `${held()} goto police_host`,
    receiver: "police_receiver_unknown",
    chains: `
chain police_host {
update @host_rates { meta priority } counter name policed drop
}
chain police_receiver_unknown {
fib daddr type local goto police_host_answers
goto police_unknown
}
chain police_host_answers {
limit rate over ${HOST_ANSWERS}/second burst ${HOST_ANSWERS / 8} packets counter name policed drop
}`,
  };
}
