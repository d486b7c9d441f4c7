import { ANSWER, BY_GENERATION_1, FROM_SERVER, QUESTION, STATE } from "../model/verdict.ts";
import { ASKED, GENERATION_BIT, OBSERVED_BIT } from "./marks.ts";
import type { Vocabulary } from "./ruleset.ts";
import { answerCarry, carryDispatch } from "./ruleset-carry.ts";
import { answerTell, tellDispatch } from "./ruleset-told.ts";

/**
 * What becomes of a packet that the agent has answered. The conntrack mark is set before the verdict, so that a
 * rejected flow is remembered by the very packet that is refused. A word that is no answer is dropped.
 */
export function answerChains(w: Vocabulary): string {
  const ours = `meta mark and ${w.mask}`;
  const question = w.word(QUESTION);
  return `
chain answer {
meta mark and ${question} != 0 goto unanswered
${ours} vmap { ${dispatch(w)} }
counter name unknown_answer drop
}
${answeredQuery(w)}
${pass(w)}
${carry(w, "answer_look", STATE.looking)}
${carry(w, "answer_confirm", STATE.confirming)}
${carry(w, "answer_http", STATE.http)}
${carry(w, "answer_prove", STATE.proving)}
${unprove(w, "answer_unprove", STATE.looking)}
${carry(w, "answer_look_1", STATE.looking | GENERATION_BIT)}
${carry(w, "answer_confirm_1", STATE.confirming | GENERATION_BIT)}
${carry(w, "answer_http_1", STATE.http | GENERATION_BIT)}
${carry(w, "answer_prove_1", STATE.proving | GENERATION_BIT)}
${unprove(w, "answer_unprove_1", STATE.looking | GENERATION_BIT)}
${carry(w, "answer_allow", STATE.allowed)}
${answerCarry()}
${answerTell(w)}
${carry(w, "answer_inbound", STATE.inbound)}
chain answer_reject {
${w.remember(STATE.rejected)}
${w.clear}
ct direction reply goto refuse_reply
goto refuse
}
chain answer_cut {
${w.remember(STATE.rejected)}
counter name cut drop
}
${refusals()}
${unanswered(w)}`;
}

/** Both generations' words, whoever's ruleset this is: while one takes over from the other, both answer. */
function dispatch(w: Vocabulary): string {
  const following = ["look", "confirm", "http", "prove", "unprove"] as const;
  const names = ["pass", "allow", "reject", "cut", "inbound", ...following] as const;
  return [
    ...names.map((name) => `${w.word(ANSWER[name])} : goto answer_${name}`),
    ...following.map((name) => `${w.word(ANSWER[name] | BY_GENERATION_1)} : goto answer_${name}_1`),
    ...carryDispatch(w),
    ...tellDispatch(w),
  ].join(", ");
}

/**
 * In prerouting: what may go on is marked as asked, so that the next hook does not ask again. A rejected question is
 * refused there, by the state: not every kernel rejects in prerouting.
 */
function answeredQuery(w: Vocabulary): string {
  const ours = `meta mark and ${w.mask}`;
  const word = w.word;
  return `
chain answer_query {
meta mark and ${word(QUESTION)} != 0 goto unanswered
${ours} vmap { ${word(ANSWER.pass)} : goto asked, ${word(ANSWER.look)} : goto query_look, ${word(ANSWER.look | BY_GENERATION_1)} : goto query_look_1, ${word(ANSWER.allow)} : goto query_allow, ${word(ANSWER.reject)} : goto query_reject, ${word(ANSWER.cut)} : goto answer_cut }
counter name unknown_answer drop
}
chain query_look {
${w.remember(STATE.looking)}
goto asked
}
chain query_look_1 {
${w.remember(STATE.looking | GENERATION_BIT)}
goto asked
}
chain query_allow {
${w.remember(STATE.allowed)}
goto asked
}
chain query_reject {
${w.remember(STATE.rejected)}
${w.clear}
accept
}
chain asked {
${forgetQueue(w)}
${w.clear} or ${word(ASKED)}
accept
}`;
}

function pass(w: Vocabulary): string {
  return `
chain answer_pass {
${forgetQueue(w)}
${w.clear}
accept
}`;
}

function forgetQueue(w: Vocabulary): string {
  if (w.spec.method === "native") return "";
  const bit = w.word(OBSERVED_BIT);
  return `ct mark and ${bit} != 0 ct mark set ct mark and 0x${(~Number(bit) >>> 0).toString(16)}`;
}

function carry(w: Vocabulary, name: string, state: number): string {
  return `
chain ${name} {
${w.remember(state)}
${w.clear}
accept
}`;
}

/** The server's record may have handed the flow over while the question waited: then it stays handed over. */
function unprove(w: Vocabulary, name: string, state: number): string {
  return `
chain ${name} {
${w.state} == ${w.word(STATE.proving)} ${w.remember(state)}
goto answer_pass
}`;
}

/**
 * The sender is told at once. Against the flow's direction it is the server, whose connection is reset too, for it
 * would otherwise stay open until it speaks; other protocols have nothing that a server must be told.
 */
function refusals(): string {
  return `
chain refuse {
counter name rejected
meta l4proto tcp reject with tcp reset
reject with icmpx admin-prohibited
}
chain refuse_reply {
counter name rejected
meta l4proto tcp reject with tcp reset
drop
}`;
}

/**
 * Still a question: there was no listener and the queue let it pass, or the rule that queues is missing. Only observed
 * workloads go on, told by the same address as when the question was put.
 */
function unanswered(w: Vocabulary): string {
  if (w.spec.failMode === "Open") {
    return `
chain unanswered {
${forgetQueue(w)}
${w.clear}
accept
}`;
  }
  const fromServer = w.word(FROM_SERVER);
  return `
chain unanswered {
meta mark and ${fromServer} != 0 jump unanswered_from_server
${w.pods("saddr", "goto unanswered_from_pod")}
goto unanswered_to_pod
}
chain unanswered_from_server {
${w.pods("daddr", "goto unanswered_to_pod")}
}
chain unanswered_from_pod {
${w.unheld("saddr", "goto answer_pass")}
counter name unanswered drop
}
chain unanswered_to_pod {
${w.unheld("daddr", "goto answer_pass")}
counter name unanswered drop
}`;
}
