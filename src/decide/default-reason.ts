import type { Decision, Reason } from "../model/decision.ts";
import { ACTION, CLASS, ENTRY, NONE, POLICY, POLICY_FLAG, RULE, type Walk } from "../program/layout.ts";
import { NAME_MARK } from "../program/marks.ts";
import type { Program } from "../program/program.ts";
import type { Asking, FlowAnswers } from "./answers.ts";
import { ANSWER } from "./walk.ts";

const OPENING: Asking = { action: ACTION.allow, hiddenContinues: false };

/** A decision that no rule made. */
export function withoutRule(action: "Allow" | "Deny", reason: Reason): Decision {
  return Object.freeze({ action, policy: null, rule: null, reason });
}

const DENIED = {
  DefaultDeny: withoutRule("Deny", "DefaultDeny"),
  OtherResolver: withoutRule("Deny", "OtherResolver"),
  NotResolved: withoutRule("Deny", "NotResolved"),
  NameMissing: withoutRule("Deny", "NameMissing"),
};

/** The default deny, with the reason that says most: what an Allow by name would have wanted besides. */
export function defaultDeny(program: Program, cls: number, walk: Walk, answers: FlowAnswers): Decision {
  if (answers.foreignResolver) return DENIED.OtherResolver;
  const { classes, classLists } = program.data;
  const { policies } = program.rules;
  const first = classes[cls * CLASS.stride + CLASS.policies]!;
  const count = classes[cls * CLASS.stride + CLASS.policyCount]!;
  for (let i = first; i < first + count; i++) {
    const row = classLists[i]! * POLICY.stride;
    if (walk === "enforce" && (policies[row + POLICY.flags]! & POLICY_FLAG.audit) !== 0) continue;
    const firstRule = policies[row + POLICY.rules]!;
    for (let rule = firstRule; rule < firstRule + policies[row + POLICY.ruleCount]!; rule++) {
      const missed = nearMiss(program, rule, answers);
      if (missed !== null) return missed;
    }
  }
  return DENIED.DefaultDeny;
}

/** What an Allow lacked, if names alone stood between it and this flow. */
function nearMiss(program: Program, rule: number, answers: FlowAnswers): Decision | null {
  const { rules, entries } = program.rules;
  const row = rule * RULE.stride;
  const count = rules[row + RULE.entryCount]!;
  if (rules[row + RULE.action] !== ACTION.allow || count === NONE) return null;
  const first = rules[row + RULE.entries]!;
  for (let entry = first; entry < first + count; entry++) {
    const inline = entries[entry * ENTRY.stride + ENTRY.names]!;
    const set = inline === NONE ? entries[entry * ENTRY.stride + ENTRY.groupNames]! : inline;
    if (set === NONE || !otherFieldsFit(entry, answers)) continue;
    const marks = program.marks.nameMarks(set);
    const evident = (marks & NAME_MARK.evidence) !== 0;
    if (evident && !answers.evidenceBound) return DENIED.NotResolved;
    if ((marks & NAME_MARK.bound) !== 0 && typeof answers.evidence !== "string") return DENIED.NameMissing;
  }
  return null;
}

function otherFieldsFit(entry: number, answers: FlowAnswers): boolean {
  return (
    answers.ports(entry, OPENING) !== ANSWER.no &&
    answers.cidrs(entry) !== ANSWER.no &&
    answers.tls(entry, OPENING) !== ANSWER.no &&
    answers.http(entry, OPENING) !== ANSWER.no
  );
}
