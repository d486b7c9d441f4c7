import { destinationFromUrl } from "../decide/destination.ts";
import { type Explanation, explain, explainName, type TraceStep } from "../decide/explain.ts";
import type { Decision } from "../model/decision.ts";
import type { Workload } from "../model/workload.ts";
import { nearest } from "../policy/nearest.ts";
import type { Walk } from "../program/layout.ts";
import { UsageError } from "./failure.ts";
import type { Scene } from "./scene.ts";

/** What was known when the walk was made: at the first packet, at the first payload, or of a DNS question. */
export type Stage = "first packet" | "payload" | "question";

export interface Step {
  readonly stage: Stage;
  readonly decision: Decision | null;
  readonly summary: string;
  readonly trace: readonly TraceStep[];
}

export interface Judgement {
  readonly workload: Workload;
  readonly decision: Decision;
  /** The last one's decision is the decision; an earlier one that decided has the same action, perhaps by another rule. */
  readonly steps: readonly Step[];
  /** What it would be with the Audit policies enforced, where they differ; null where not. */
  readonly audit: { readonly decision: Decision; readonly steps: readonly Step[] } | null;
}

/** Decides on paper what a pod meets that asks for a destination. @throws UsageError no such pod, or no such destination */
export function judge(scene: Scene, from: string, to: string, ip: string | null): Judgement {
  const workload = findWorkload(scene, from);
  const cls = scene.program.classOf(workload.id);
  const enforce = walkSteps(scene, cls, to, ip, "enforce");
  const judgement = { workload, ...enforce, audit: null };
  if (!scene.program.audited(cls)) return judgement;
  const all = walkSteps(scene, cls, to, ip, "all");
  return sameOutcome(all.decision, enforce.decision) ? judgement : { ...judgement, audit: all };
}

function walkSteps(
  scene: Scene,
  cls: number,
  to: string,
  ip: string | null,
  walk: Walk,
): { decision: Decision; steps: readonly Step[] } {
  const destination = destinationFromUrl(to, ip === null ? {} : { ip });
  if (destination.kind === "problem") throw new UsageError(destination.problem);
  const steps: Step[] = [];
  const add = (stage: Stage, { decision, summary, steps: trace }: Explanation): void => {
    steps.push({ stage, decision, summary, trace });
  };
  if (destination.kind === "question") add("question", explainName(scene.program, cls, destination.name, walk));
  else {
    const [first, last] = destination.stages;
    const early = explain(scene.program, cls, first, walk);
    add("first packet", early);
    // An action can be certain while it is still open which rule it comes from: whoever wrote the rules means the rule.
    if (early.decision === null || early.steps.some(({ answer }) => answer === "notYet")) {
      const late = explain(scene.program, cls, last, walk);
      if (!sameOutcome(early.decision, late.decision)) add("payload", late);
    }
  }
  const decision = steps.at(-1)?.decision;
  if (!decision) throw new Error(`no decision on \`${to}\` with all facts known`);
  return { decision, steps };
}

function sameOutcome(a: Decision | null, b: Decision | null): boolean {
  return a?.action === b?.action && a?.policy === b?.policy && a?.rule === b?.rule && a?.reason === b?.reason;
}

/** The pod `namespace/name`. @throws UsageError why nothing is decided for it */
export function findWorkload({ pods }: Scene, from: string): Workload {
  const { workloads, notEnforced, problems } = pods;
  const found = workloads.find(({ namespace, name }) => `${namespace}/${name}` === from);
  if (found !== undefined) return found;
  const bare = notEnforced.find(({ pod: { namespace, name } }) => `${namespace}/${name}` === from);
  if (bare?.why === "HostNetwork") {
    throw new UsageError(
      `pod \`${from}\` shares the network of its node: only the agent there can tell its traffic from the node's own`,
    );
  }
  const known = problems.find((problem) => problem.includes(`\`${from}\``));
  if (known !== undefined) throw new UsageError(known);
  const names = workloads.map(({ namespace, name }) => `${namespace}/${name}`);
  const sameName = names.find((name) => name.endsWith(`/${from.split("/").at(-1)}`));
  const near = nearest(from, names) ?? sameName ?? null;
  const all = names.length === 0 ? "it names no running pod with an address" : `there are ${some(names)}`;
  throw new UsageError(
    `no running pod \`${from}\` in the workloads: ${near === null ? all : `did you mean \`${near}\`?`}`,
  );
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 8).map((name) => `\`${name}\``);
  return names.length > 8 ? `${shown.join(", ")} and ${names.length - 8} more` : shown.join(", ");
}
