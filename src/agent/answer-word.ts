import { DROP } from "../inspector/contract.ts";
import { BY_GENERATION_1, FOLLOWS, type Generation } from "../model/verdict.ts";

/** The word for the kernel. That of a followed flow says in its conntrack mark that its packets are for the agent of this generation. */
export function answerWord(answer: number, generation: Generation): number {
  return FOLLOWS.has(answer) ? answer | (generation === 1 ? BY_GENERATION_1 : 0) : Math.max(answer, DROP);
}
