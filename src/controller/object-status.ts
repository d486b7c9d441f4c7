import type { PolicyStatusText } from "../policy/status-schema.ts";
import { type Verdict, withVerdicts } from "./conditions.ts";
import type { ObjectReports } from "./node-reports.ts";
import { type PolicyShadow, shadowText } from "./shadows/policy-shadows.ts";

/** An object as it is judged by itself: whether it can be used, and what its author should know. */
export interface Judgement {
  /** One line each; none: it can be used. */
  readonly errors: readonly string[];
  /** Rules that never decide, names that nothing carries, and the like; one line each. */
  readonly warnings: readonly string[];
  /** Rules that never decide because of policies that are walked before. */
  readonly shadows: readonly PolicyShadow[];
}

export interface Judged {
  readonly generation: number;
  readonly judgement: Judgement;
  readonly reports: ObjectReports;
  /** Null for a kind that selects no pods. */
  readonly selects: boolean;
}

const SHOWN_NODES = 3;
const SHOWN_SHADOWS = 16;
const SHADOWED = "Shadowed";

/** The status of an object; what has not changed since `before` keeps its time. `now`: RFC 3339. */
export function objectStatus(
  { generation, judgement, reports, selects }: Judged,
  before: PolicyStatusText,
  now: string,
): PolicyStatusText {
  const verdicts = [accepted(judgement), programmed(generation, judgement, reports), ...shadowed(judgement)];
  // It is there only while it holds: thousands of policies need not say that all is well.
  const known = (before.conditions ?? []).filter(({ type }) => type !== SHADOWED || judgement.shadows.length > 0);
  const conditions = withVerdicts(known, verdicts, generation, now);
  const status = { observedGeneration: generation, conditions };
  return selects ? { ...status, selectedPods: selectedPods(reports) } : status;
}

function accepted({ errors, warnings }: Judgement): Verdict {
  if (errors.length > 0) return { type: "Accepted", status: "False", reason: "Invalid", message: errors.join("; ") };
  if (warnings.length > 0)
    return { type: "Accepted", status: "True", reason: "Warnings", message: warnings.join("; ") };
  return { type: "Accepted", status: "True", reason: "Valid", message: "can be used" };
}

function shadowed({ shadows }: Judgement): Verdict[] {
  if (shadows.length === 0) return [];
  const reason = shadows.some(({ conflict }) => conflict) ? "Conflict" : "Redundant";
  const more = shadows.length > SHOWN_SHADOWS ? [`and ${shadows.length - SHOWN_SHADOWS} more`] : [];
  const message = [...shadows.slice(0, SHOWN_SHADOWS).map(shadowText), ...more].join("; ");
  return [{ type: SHADOWED, status: "True", reason, message }];
}

/** `11/12 nodes`, with the first of those that do not enforce it, and why. */
function programmed(generation: number, { errors }: Judgement, reports: ObjectReports): Verdict {
  const type = "Programmed";
  const behind: string[] = [];
  let reason: string | null = null;
  for (const [node, entry] of reports) {
    if (entry.programmed && entry.generation === generation) continue;
    if (!entry.programmed && entry.generation === generation) reason ??= entry.reason ?? "Refused";
    behind.push(
      entry.programmed
        ? `${node} has generation ${entry.generation}`
        : `${node}: ${entry.message ?? entry.reason ?? "refused"}`,
    );
  }
  const count = `${reports.size - behind.length}/${reports.size} nodes`;
  if (behind.length > 0) {
    const more = behind.length > SHOWN_NODES ? `; and ${behind.length - SHOWN_NODES} more` : "";
    const message = `${count}; ${behind.slice(0, SHOWN_NODES).join("; ")}${more}`;
    return { type, status: "False", reason: reason ?? (errors.length > 0 ? "Invalid" : "Pending"), message };
  }
  if (errors.length > 0) return { type, status: "False", reason: "Invalid", message: count };
  return { type, status: "True", reason: reports.size === 0 ? "NoNodes" : "Programmed", message: count };
}

function selectedPods(reports: ObjectReports): number {
  let pods = 0;
  for (const { selectedPods: own = 0 } of reports.values()) pods += own;
  return pods;
}
