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

/**
 * Whether some binding could still decide a flow for which `decide` gave null, when `resolved` are names that the agent has
 * resolved and that did not lead to the address. False: the caller may set `namesFinal`, and the flow is denied at its first
 * packet instead of being let say its name to an address that no rule can mean.
 */
export function bindingMayCome(
  program: Program,
  cls: number,
  facts: Facts,
  resolved: readonly string[],
  walk: Walk = "enforce",
): boolean {
  if (cls < 0 || facts.namesFinal || facts.ended) return false;
  const wanted = new WantedNames(program, new FlowAnswers(program, cls, facts));
  walkRules(program, cls, walk, wanted.answers, wanted);
  return wanted.unnamed || [...wanted.names].some((name) => !resolved.includes(name));
}

/** Collects the names that open questions of Allow, Pass and Next hang on. */
class WantedNames implements WalkSink {
  readonly names = new Set<string>();
  /** One of them hangs on a name that only the flow can tell, or on a binding that is there. */
  unnamed = false;
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
    if (answer !== ANSWER.notYet || action === ACTION.deny) return;
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
        if (known && !this.answers.evidenceBound && this.names.size < MOST_NAMES) this.names.add(evidence);
      } else if (this.answers.needsEvidence(entry)) this.unnamed = true;
      else this.addExact(set);
    }
  }

  /** Names that are bound already need no second question. */
  private addExact(set: number): void {
    this.unnamed ||= !this.program.data.exactOnly[set];
    for (const name of this.program.data.exactNames[set]!) {
      if (this.answers.facts.names.includes(name) || this.names.size >= MOST_NAMES) this.unnamed = true;
      else this.names.add(name);
    }
  }
}
