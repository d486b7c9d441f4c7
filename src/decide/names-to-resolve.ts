import type { Facts } from "../model/facts.ts";
import { ACTION, ENTRY, NONE, RULE, type Walk } from "../program/layout.ts";
import { NAME_MARK } from "../program/marks.ts";
import type { Program } from "../program/program.ts";
import { type Asking, FlowAnswers } from "./answers.ts";
import { ANSWER, type WalkSink, walkRules } from "./walk.ts";

export const MOST_NAMES = 16;

/**
 * Names whose resolution could still decide a flow for which `decide` gave null; at most 16. With the name in the flow
 * known it is that name or none; before, it is the exact names of rules for which binding alone suffices on this port.
 * Empty: no binding that the agent could find would help; with the evidence known, the caller may then set `namesFinal`.
 */
export function namesToResolve(program: Program, cls: number, facts: Facts, walk: Walk = "enforce"): readonly string[] {
  if (cls < 0 || facts.namesFinal || facts.ended) return [];
  const wanted = new WantedNames(program, new FlowAnswers(program, cls, facts));
  walkRules(program, cls, walk, wanted.answers, wanted);
  return [...wanted.names];
}

/** Collects the names that open questions of Allow, Pass and Next hang on. */
class WantedNames implements WalkSink {
  readonly names = new Set<string>();
  readonly answers: FlowAnswers;
  private readonly program: Program;

  constructor(program: Program, answers: FlowAnswers) {
    this.program = program;
    this.answers = answers;
  }

  asked(rule: number, answer: number): void {
    const { rules } = this.program.rules;
    const row = rule * RULE.stride;
    const action = rules[row + RULE.action]!;
    if (answer !== ANSWER.notYet || action === ACTION.deny || this.names.size >= MOST_NAMES) return;
    const first = rules[row + RULE.entries]!;
    const asking: Asking = { action, hiddenContinues: false };
    for (let entry = first; entry < first + rules[row + RULE.entryCount]!; entry++) {
      if (this.answers.entry(entry, asking) === ANSWER.notYet) this.add(entry);
    }
  }

  private add(entry: number): void {
    const { entries } = this.program.rules;
    const row = entry * ENTRY.stride;
    for (const set of [entries[row + ENTRY.names]!, entries[row + ENTRY.groupNames]!]) {
      if (set === NONE) continue;
      const { evidence } = this.answers;
      if (typeof evidence === "string") {
        const known = (this.program.marks.nameMarks(set) & NAME_MARK.evidence) !== 0;
        if (known && !this.answers.evidenceBound) this.names.add(evidence);
      } else if (!this.answers.needsEvidence(entry)) this.addExact(set);
    }
  }

  /** Names that are bound already need no second question. */
  private addExact(set: number): void {
    for (const name of this.program.data.exactNames[set]!) {
      if (this.names.size < MOST_NAMES && !this.answers.facts.names.includes(name)) this.names.add(name);
    }
  }
}
