import type { TraceStep } from "../decide/explain.ts";
import type { ExplainDocument } from "./explain-document.ts";
import type { Step } from "./judge.ts";
import { paint, paintAction, printable, table } from "./output.ts";

const ANSWERS: Readonly<Record<TraceStep["answer"], string>> = { yes: "yes", no: "no", notYet: "not yet" };

/** The decision, why, and every rule that was asked, for people. */
export function explainText(document: ExplainDocument): string {
  const { from, to, ip, workload, policies, audit } = document;
  const where = ip === null ? to : `${to} at ${ip}`;
  const lines = [
    `${paintAction(document.action, paint("strong", document.action))}  ${printable(from)} -> ${printable(where)}`,
    `${printable(document.summary)}`,
    `Reason \`${document.reason}\`. ${document.action} is certain at the ${document.decidedAt}.`,
    ...recordedText(document),
    "",
    isolationText(workload.isolated, policies),
  ];
  if (policies.length === 0) lines.push("No policy selects it.");
  else {
    const rows = policies.map(({ policy, tier, priority, mode, defaultDeny }) => [
      policy,
      tier,
      String(priority),
      mode,
      defaultDeny ? "yes" : "no",
    ]);
    lines.push("", table([["SELECTED BY", "TIER", "PRIORITY", "MODE", "DEFAULT DENY"], ...rows]).trimEnd());
  }
  for (const step of document.steps) lines.push(...stepText(step));
  if (audit !== null) {
    const by = audit.policy === null ? `no rule (${audit.reason})` : `rule \`${audit.rule}\` of \`${audit.policy}\``;
    lines.push("", paint("warn", `With its Audit policies enforced: ${audit.action} by ${printable(by)}`));
    for (const step of audit.steps) lines.push(...stepText(step));
  }
  return `${lines.join("\n")}\n`;
}

/** What the policies that select a workload make of it. */
export function isolationText(isolated: boolean, policies: ExplainDocument["policies"]): string {
  const standard = policies.some(({ tier }) => tier === "NetworkPolicy");
  if (isolated && standard) return "The workload is isolated, by NetworkPolicies too: what not both let out is denied.";
  if (isolated) return "The workload is isolated: what no rule allows is denied.";
  if (standard) return "NetworkPolicies isolate the workload: what none of them accepts is denied.";
  return "The workload is not isolated: what no rule denies is allowed.";
}

/** The agent decides when the action is certain, and its record names what was known then. */
function recordedText({ steps, action }: ExplainDocument): string[] {
  const [first, last] = [steps[0]?.decision, steps.at(-1)?.decision];
  if (!first || first === last) return [];
  const by = first.policy === null ? `reason \`${first.reason}\`` : `rule \`${first.rule}\` of \`${first.policy}\``;
  return [`The flow record says ${printable(by)}: it is ${action} either way, before its payload is seen.`];
}

const STAGES: Readonly<Record<Step["stage"], string>> = {
  "first packet": "At the first packet",
  payload: "At the first payload",
  question: "At the DNS question",
};

function stepText({ stage, decision, summary, trace }: Step): string[] {
  const outcome = decision === null ? summary : decision.action;
  const head = ["", paint("strong", `${STAGES[stage]}: ${outcome}`)];
  if (trace.length === 0) return [...head, "  no rule was asked"];
  const rows = trace.map(({ policy, mode, rule, action, answer, why, certain }) => [
    mode === "Audit" ? `${policy} (Audit)` : policy,
    rule,
    action,
    ANSWERS[answer],
    certain ? why : `${why} (asked in case what is open before it does not match)`,
  ]);
  const text = table([["POLICY", "RULE", "ACTION", "ANSWER", "WHY"], ...rows], (cell, column) =>
    column === 3 && cell === "yes" ? paint("strong", cell) : cell,
  );
  return [...head, text.trimEnd()];
}
