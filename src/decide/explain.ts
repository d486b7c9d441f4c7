import type { Decision } from "../model/decision.ts";
import type { Facts } from "../model/facts.ts";
import type { Mode, RuleAction, Tier } from "../model/policy.ts";
import { ACTIONS, POLICY, POLICY_FLAG, RULE, TIERS, type Walk } from "../program/layout.ts";
import type { Program } from "../program/program.ts";
import type { FlowAnswers } from "./answers.ts";
import { decideBeforeRules, decideByRules } from "./decide.ts";
import type { Destination } from "./destination.ts";
import { gateBeforeRules, gateByRules } from "./gate.ts";
import { ANSWER, type WalkSink } from "./walk.ts";
import { whyRule } from "./why.ts";
import { whyName } from "./why-name.ts";

/** One rule that the walk asked. `certain` false: reached only if an open question before it turns out one way. */
export interface TraceStep {
  readonly policy: string;
  readonly tier: Tier;
  readonly mode: Mode;
  readonly rule: string;
  readonly action: RuleAction;
  readonly answer: "yes" | "no" | "notYet";
  readonly why: string;
  readonly certain: boolean;
}

export interface Explanation {
  /** Null: not yet, more facts are needed. */
  readonly decision: Decision | null;
  /** The rules in the order they were asked; none where something before the rules decided. */
  readonly steps: readonly TraceStep[];
  /** The decision in one line of words. */
  readonly summary: string;
}

/** `decide`, with its trace. */
export function explain(program: Program, cls: number, facts: Facts, walk: Walk = "enforce"): Explanation {
  const before = decideBeforeRules(program, cls, facts, walk);
  if (before !== null) return { decision: before, steps: [], summary: summarise(before) };
  const steps: TraceStep[] = [];
  const sink = (answers: FlowAnswers): WalkSink => ({
    asked: (rule, answer, certain) =>
      steps.push(step(program, rule, answer, certain, whyRule(program, answers, rule, answer))),
  });
  const decision = decideByRules(program, cls, facts, walk, sink);
  return { decision, steps, summary: summarise(decision) };
}

/** `gateName`, with its trace. */
export function explainName(program: Program, cls: number, name: string, walk: Walk = "enforce"): Explanation {
  const before = gateBeforeRules(program, cls, name, walk);
  if (before !== null) return { decision: before, steps: [], summary: summarise(before) };
  const steps: TraceStep[] = [];
  const sink: WalkSink = {
    asked: (rule, answer, certain) =>
      steps.push(step(program, rule, answer, certain, whyName(program, name, rule, answer))),
  };
  const decision = gateByRules(program, cls, name, walk, sink);
  return { decision, steps, summary: summarise(decision) };
}

/** What the lane would do with a destination: the first stage on which it decides. A problem is never passed in. */
export function explainDestination(
  program: Program,
  cls: number,
  destination: Exclude<Destination, { kind: "problem" }>,
  walk: Walk = "enforce",
): Explanation {
  if (destination.kind === "question") return explainName(program, cls, destination.name, walk);
  const { stages } = destination;
  let explanation = explain(program, cls, stages[0]!, walk);
  for (let i = 1; i < stages.length && explanation.decision === null; i++) {
    explanation = explain(program, cls, stages[i]!, walk);
  }
  return explanation;
}

function step(program: Program, rule: number, answer: number, certain: boolean, why: string): TraceStep {
  const { rules, policies } = program.rules;
  const row = rule * RULE.stride;
  const policy = rules[row + RULE.policy]!;
  const flags = policies[policy * POLICY.stride + POLICY.flags]!;
  return {
    policy: program.text.policyRefs[policy]!,
    tier: TIERS[policies[policy * POLICY.stride + POLICY.tier]!]!,
    mode: (flags & POLICY_FLAG.audit) === 0 ? "Enforce" : "Audit",
    rule: program.text.ruleNames[rule]!,
    action: ACTIONS[rules[row + RULE.action]!]!,
    answer: answer === ANSWER.no ? "no" : answer === ANSWER.notYet ? "notYet" : "yes",
    why,
    certain,
  };
}

const WORDS: Readonly<Record<string, string>> = {
  NameHidden: "the flow speaks a protocol that carries names and hides its own",
  DefaultDeny: "no rule matched, and a policy with `defaultDeny: true` selects the workload",
  Bypassed: "enforcement is set aside for this workload by `sallyport bypass`",
  NotIsolated: "no enforcing rule denied it, and no enforcing policy with `defaultDeny: true` selects the workload",
  NotResolved: "an Allow knows the name in the flow, but this workload never resolved it to this address",
  NameMissing: "an Allow knows the address, but the flow does not carry the name",
  OtherResolver: "port 53 of a server that is no trusted resolver needs an Allow that names port 53",
  TrustedResolver: "port 53 of a trusted resolver: each question is judged by its name",
  ClusterDomain: "the name is under the cluster domain",
  Inside: "the destination is inside the cluster: this is not egress",
  UnknownWorkload: "no policy state is known for this workload",
};

function summarise(decision: Decision | null): string {
  if (decision === null) return "not decided yet: more facts are needed";
  const { action, policy, rule, reason } = decision;
  const by = policy === null ? "" : ` by rule \`${rule}\` of \`${policy}\``;
  const words = WORDS[reason];
  return `${action}${by}${words === undefined ? "" : `: ${words}`}`;
}
