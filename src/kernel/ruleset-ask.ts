import {
  FROM_SERVER,
  QUESTION,
  REMEMBERED_SHIFT,
  STATE,
  type State,
  TO_RESOLVER,
  TRANSLATED,
} from "../model/verdict.ts";
import { followedWords, GENERATION_BIT, OBSERVED_BIT, STATE_BITS } from "./marks.ts";
import { otherGeneration, queuesOf, SYN, type Vocabulary } from "./ruleset.ts";
import { tellNow } from "./ruleset-told.ts";

const LOOKING = STATE.looking << REMEMBERED_SHIFT;
const ALLOWED = STATE.allowed << REMEMBERED_SHIFT;
const HTTP = STATE.http << REMEMBERED_SHIFT;

/**
 * A SYN on an entry that is not new is told as `looking`, whatever is remembered: an earlier SYN may have been answered.
 *
 * The question: what conntrack remembers, whether a resolver was asked (IPVS translates without `ct status dnat`), whether the destination was translated. Then
 * the queue: the observed one lets packets pass while nobody listens, the strict one does not.
 */
export function askChains(w: Vocabulary): string {
  return `
chain ask_query {
ct state new jump opens
jump write_question
${w.unheld("saddr", "goto ask_observed")}
jump police_sender
goto ask_strict
}
chain ask_remembered {
ct status dnat ${w.gain(TRANSLATED)}
${tellNow(w)}
jump write_question
${w.unheld("saddr", "goto ask_observed")}
jump police_sender
goto ask_strict
}
chain ask_from_server {
${w.gain(FROM_SERVER)}
ct status dnat ${w.gain(TRANSLATED)}
${tellNow(w)}
jump write_question
${w.unheld("daddr", "goto ask_observed")}
ip saddr @workloads4 jump police_sender
ip6 saddr @workloads6 jump police_sender
jump police_receiver
goto ask_strict
}
chain write_question {
${w.state} vmap { ${states(w)} }
${w.gain(QUESTION)}
goto write_resolver
}
chain write_new {
${SYN} ct state != new goto write_looking
${w.gain(QUESTION)}
goto write_resolver
}
chain write_over {
${SYN} goto write_looking
${w.gain(QUESTION)}
goto write_resolver
}
chain write_looking {
${w.gain(QUESTION | LOOKING)}
goto write_resolver
}
chain write_allowed {
${w.gain(QUESTION | ALLOWED)}
goto write_resolver
}
chain write_http {
${w.gain(QUESTION | HTTP)}
goto write_resolver
}
chain write_resolver {
meta l4proto != { tcp, udp } return
th dport 53 ip daddr @resolvers4 ${w.gain(TO_RESOLVER)}
th dport 53 ip6 daddr @resolvers6 ${w.gain(TO_RESOLVER)}
th sport 53 ip saddr @resolvers4 ${w.gain(TO_RESOLVER)}
th sport 53 ip6 saddr @resolvers6 ${w.gain(TO_RESOLVER)}
meta l4proto udp ct original proto-dst 53 jump asked_resolver
meta l4proto tcp ct original proto-dst 53 jump asked_resolver
}
chain asked_resolver {
ct original ip daddr @resolvers4 ${w.gain(TO_RESOLVER)}
ct original ip6 daddr @resolvers6 ${w.gain(TO_RESOLVER)}
}
${w.spec.method === "native" ? nativeQueues(w) : markedQueues(w)}`;
}

/** To each remembered state the chain that says it in the question. */
function states(w: Vocabulary): string {
  const chains: Record<State, string> = {
    [STATE.none]: "write_new",
    [STATE.looking]: "write_looking",
    [STATE.confirming]: "write_looking",
    [STATE.proving]: "write_looking",
    [STATE.allowed]: "write_allowed",
    [STATE.http]: "write_http",
    [STATE.rejected]: "write_over",
    [STATE.inbound]: "write_over",
  };
  return Object.entries(chains)
    .map(([state, chain]) => `${w.word(Number(state))} : goto ${chain}`)
    .join(", ");
}

/**
 * While two agents listen, the one that follows a TCP flow goes on with it; all else is for the current one. DNS over UDP too: one
 * port of a pod often carries all its questions, for as long as it lives.
 */
function nativeQueues(w: Vocabulary): string {
  const { queueNumber, generation, other, failMode } = w.spec;
  const bypass = failMode === "Open" ? " bypass" : "";
  const queues = queuesOf(queueNumber, generation);
  const former = otherGeneration(generation);
  const followed = `meta l4proto tcp ct mark and ${w.word(STATE_BITS | GENERATION_BIT)} { ${followedWords(former).map(w.word).join(", ")} }`;
  const others = queuesOf(queueNumber, former);
  return `
chain ask_observed {
${other ? `${followed} queue num ${others.observed} bypass` : ""}
queue num ${queues.observed} bypass
}
chain ask_strict {
${other ? `${followed} queue num ${others.strict}${bypass}` : ""}
queue num ${queues.strict}${bypass}
}`;
}

/**
 * xtables cannot look into our sets: a bit of the conntrack mark says which queue. Untracked packets have no such
 * bit; `translated`, which they cannot be, says it for them.
 */
function markedQueues(w: Vocabulary): string {
  const bit = w.word(OBSERVED_BIT);
  const without = `0x${(~Number(bit) >>> 0).toString(16)}`;
  return `
chain ask_observed {
ct mark set ct mark or ${bit}
ct state untracked ${w.gain(TRANSLATED)}
accept
}
chain ask_strict {
ct mark and ${bit} != 0 ct mark set ct mark and ${without}
accept
}`;
}
