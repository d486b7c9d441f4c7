import { ANSWER, QUESTION } from "../model/verdict.ts";
import type { Vocabulary } from "./ruleset.ts";

/** Packets a second that get into the strict queue so: the agent's own (agent/ballast.ts), and those of others that may set marks on the node. */
const RATE = 1_000;

/** Rule of the output hook, before what clears our bits: what the agent sends to lie in its queue. */
export function ballastRule(w: Vocabulary): string {
  return `meta mark and ${w.mask} == ${w.word(ANSWER.ballast)} oif lo limit rate ${RATE}/second burst ${RATE} packets goto ballast`;
}

export function ballastChain(w: Vocabulary): string {
  return `
chain ballast {
${w.clear}
${w.gain(QUESTION)}
goto ask_strict
}`;
}
