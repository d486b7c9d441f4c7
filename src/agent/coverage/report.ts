import { type Policy, policyRef } from "../../model/policy.ts";
import type { Workload } from "../../model/workload.ts";
import { positionsByNamespace } from "../../program/by-namespace.ts";
import { selects } from "../../program/select.ts";
import type { UnheldPod } from "../../workloads/objects.ts";
import type { Logger } from "../log.ts";

/** Why a pod is not enforced, in one word. */
export type UnheldReason = UnheldPod["why"] | "NotRoutedByNode" | "NotSeenByHooks";

/** What was found out of one pod. `unknown`: nothing yet, it has just started. */
export interface Finding {
  readonly state: "unknown" | "crossing" | UnheldReason;
  readonly message: string;
  /** It is crossing, and was not held at its start. */
  readonly openAtStart?: boolean;
  /** It is held, unless it means to get around. */
  readonly partly?: boolean;
}

/** A pod that policies do not hold, or not wholly. */
export interface NotEnforcedPod {
  readonly namespace: string;
  readonly pod: string;
  readonly reason: UnheldReason;
  readonly message: string;
  /** Some enforcing policy selects it. */
  readonly selected: boolean;
}

/** Which pods of the node cross its rules. */
export interface CoverageReport {
  readonly pods: number;
  readonly crossing: number;
  readonly unknown: number;
  /** Crossing pods of which the first packets were not held, for nothing told that they were a pod's: outside `podCIDRs` and `podInterfaces`. */
  readonly openAtStart: number;
  /** How many are not enforced, by reason. */
  readonly reasons: Readonly<Partial<Record<UnheldReason, number>>>;
  /** Those that a policy selects first, then by name. */
  readonly notEnforced: readonly NotEnforcedPod[];
}

export const NOTHING_KNOWN: CoverageReport = {
  pods: 0,
  crossing: 0,
  unknown: 0,
  openAtStart: 0,
  reasons: {},
  notEnforced: [],
};

const MOST_LINES = 20;

/**
 * Pods of the system that share the node's network are meant to; of the pods of the system only those are told that a policy selects.
 */
export function coverageReport(
  findings: Iterable<readonly [Workload, Finding]>,
  policies: readonly Policy[],
  systemNamespaces: readonly string[],
): CoverageReport {
  const notEnforced: NotEnforcedPod[] = [];
  const reasons: Partial<Record<UnheldReason, number>> = {};
  let crossing = 0;
  let unknown = 0;
  let open = 0;
  const all = [...findings];
  const outside = all.filter(([, { state }]) => state !== "crossing" && state !== "unknown");
  const candidates = positionsByNamespace(
    outside.length === 0 ? [] : policies,
    outside.map(([pod]) => pod.namespace),
  );
  for (const [pod, { state, message, openAtStart = false, partly = false }] of all) {
    if (openAtStart) open++;
    if (state === "crossing") crossing++;
    else if (state === "unknown") unknown++;
    else {
      const by = candidates
        .get(pod.namespace)!
        .map((at) => policies[at]!)
        .find((policy) => policy.mode === "Enforce" && selects(policy, pod, systemNamespaces));
      if (by === undefined && systemNamespaces.includes(pod.namespace)) continue;
      const words =
        by === undefined ? message : `\`${policyRef(by)}\` selects it${partly ? "" : " in vain"}: ${message}`;
      const { namespace, name } = pod;
      reasons[state] = (reasons[state] ?? 0) + 1;
      notEnforced.push({ namespace, pod: name, reason: state, message: words, selected: by !== undefined });
    }
  }
  notEnforced.sort((a, b) => Number(b.selected) - Number(a.selected) || order(nameOf(a), nameOf(b)));
  const pods = crossing + unknown + notEnforced.length;
  return { pods, crossing, unknown, openAtStart: open, reasons, notEnforced };
}

/** A line for each pod that is not enforced any more or again, as far as there are not too many. */
export function sayChanges(before: CoverageReport, after: CoverageReport, log: Logger): void {
  const keysBefore = new Set(before.notEnforced.map(keyOf));
  const keysAfter = new Set(after.notEnforced.map(keyOf));
  const fresh = after.notEnforced.filter((pod) => !keysBefore.has(keyOf(pod)));
  for (const one of fresh.slice(0, MOST_LINES)) {
    const { reason, message, selected } = one;
    const fields = { event: "pod-not-enforced", pod: nameOf(one), reason, problem: message };
    if (selected) log.error(fields, "a pod that policies select is not held by them");
    else log.warn(fields, "policies would not hold this pod");
  }
  if (fresh.length > MOST_LINES)
    log.warn({ event: "pods-not-enforced", more: fresh.length - MOST_LINES }, "more pods are not held by policies");
  if (after.openAtStart > 0 && before.openAtStart === 0) {
    const words =
      "set `podInterfaces` or `podCIDRs` in AgentConfig: what these pods send before they are known is not held";
    log.error({ event: "pods-open-at-start", pods: after.openAtStart }, words);
  }
  const gone = before.notEnforced.filter((pod) => !keysAfter.has(keyOf(pod)));
  for (const one of gone.slice(0, MOST_LINES))
    log.info({ event: "pod-not-enforced-ended", pod: nameOf(one), reason: one.reason }, "it is gone, or held now");
}

function keyOf(pod: NotEnforcedPod): string {
  return `${nameOf(pod)}/${pod.reason}/${pod.selected}`;
}

function nameOf({ namespace, pod }: NotEnforcedPod): string {
  return `${namespace}/${pod}`;
}

/** The same on every machine, whatever its locale. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
