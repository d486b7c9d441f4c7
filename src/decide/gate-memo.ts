import type { Decision } from "../model/decision.ts";
import type { Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import { gateName } from "./gate.ts";

/** Names kept in all, with their texts. */
const MOST = 4096;

/**
 * `gateName`, with its answers kept: the same names are asked again and again. An answer serves the same name, class and walk
 * in one epoch, so it is the answer that `gateName` would give. A pod that asks for much makes the others walk anew.
 */
export class GateMemo {
  #program: Program | null = null;
  /** By class and walk. */
  #answers: (Map<string, Decision> | undefined)[] = [];
  #count = 0;

  gate(program: Program, cls: number, name: string, walk: Walk = "enforce"): Decision {
    if (cls < 0) return gateName(program, cls, name, walk);
    if (program !== this.#program || this.#count === MOST) {
      this.#program = program;
      this.#answers = [];
      this.#count = 0;
    }
    const row = cls * 2 + (walk === "enforce" ? 0 : 1);
    let answers = this.#answers[row];
    if (answers === undefined) {
      answers = new Map();
      this.#answers[row] = answers;
    }
    const known = answers.get(name);
    if (known !== undefined) return known;
    const decision = gateName(program, cls, name, walk);
    answers.set(name, decision);
    this.#count++;
    return decision;
  }
}
