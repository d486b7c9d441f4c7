import type { Decision, Reason } from "../model/decision.ts";
import { ACTION, ENTRY, NONE, RULE, type Walk } from "../program/layout.ts";
import { NAME_MARK } from "../program/marks.ts";
import type { Program } from "../program/program.ts";
import type { Asking, FlowAnswers } from "./answers.ts";
import { ANSWER, type WalkSink, walkRules } from "./walk.ts";

const OPENING: Asking = { action: ACTION.allow, hiddenContinues: false };

/** A decision that no rule made. */
export function withoutRule(action: "Allow" | "Deny", reason: Reason): Decision {
  return Object.freeze({ action, policy: null, rule: null, reason });
}

const DEFAULT_DENY = withoutRule("Deny", "DefaultDeny");
const OTHER_RESOLVER = withoutRule("Deny", "OtherResolver");
const NOT_RESOLVED = withoutRule("Deny", "NotResolved");
const NAME_MISSING = withoutRule("Deny", "NameMissing");

/** The default deny, with the reason that says most: what an Allow by name would have wanted besides. Costs a second walk. */
export function defaultDeny(program: Program, cls: number, walk: Walk, answers: FlowAnswers): Decision {
  if (answers.foreignResolver) return OTHER_RESOLVER;
  const missed = new NearMiss(program, answers);
  walkRules(program, cls, walk, answers, missed);
  return missed.decision ?? DEFAULT_DENY;
}

/** Looks among the Allow rules that said no for the first that names alone stood against. */
class NearMiss implements WalkSink {
  decision: Decision | null = null;
  private readonly program: Program;
  private readonly answers: FlowAnswers;

  constructor(program: Program, answers: FlowAnswers) {
    this.program = program;
    this.answers = answers;
  }

  asked(rule: number, answer: number): void {
    const { rules } = this.program.rules;
    const row = rule * RULE.stride;
    const count = rules[row + RULE.entryCount]!;
    if (this.decision !== null || answer !== ANSWER.no || rules[row + RULE.action] !== ACTION.allow || count === NONE)
      return;
    const first = rules[row + RULE.entries]!;
    for (let entry = first; entry < first + count && this.decision === null; entry++) {
      const missing = this.missing(entry);
      if (missing !== null && this.otherFieldsFit(entry)) this.decision = missing;
    }
  }

  private missing(entry: number): Decision | null {
    const { entries } = this.program.rules;
    const own = entries[entry * ENTRY.stride + ENTRY.names]!;
    const set = own === NONE ? entries[entry * ENTRY.stride + ENTRY.groupNames]! : own;
    const marks = set === NONE ? 0 : this.program.marks.nameMarks(set);
    const { evidence, evidenceBound, nameMayCome } = this.answers;
    if ((marks & NAME_MARK.evidence) !== 0 && !evidenceBound) return NOT_RESOLVED;
    const nameless = typeof evidence !== "string" && !nameMayCome;
    return (marks & NAME_MARK.bound) !== 0 && nameless ? NAME_MISSING : null;
  }

  private otherFieldsFit(entry: number): boolean {
    const { answers } = this;
    return (
      answers.ports(entry, OPENING) !== ANSWER.no &&
      answers.cidrs(entry) !== ANSWER.no &&
      answers.tls(entry, OPENING) !== ANSWER.no &&
      answers.http(entry, OPENING) !== ANSWER.no
    );
  }
}
