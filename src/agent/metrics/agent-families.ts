import { SCOPES } from "../bypass/bypass.ts";
import { policyCount } from "../state.ts";
import { type Family, labelled, single } from "./family.ts";
import { latencyFamily } from "./latency-family.ts";
import { type AgentNumbers, laneNumber } from "./numbers.ts";
import type { Problems } from "./problems.ts";
import { whyNotReady } from "./readiness.ts";

/** What metrics are made from. */
export interface MetricsSource {
  readonly numbers: AgentNumbers;
  readonly problems: Problems;
  readonly version: string;
}

const DECISIONS: Family<MetricsSource> = {
  name: "sallyport_decisions_total",
  type: "counter",
  help: "Decisions by policy (empty: no rule decided; `(other)`: not in force any more, or beyond 2000), kind (flow, request, dns) and action. The rule stands in the flow log. A policy's counts leave with it.",
  read: ({ numbers }) =>
    numbers.counts.decisions.decisions().map(({ policy, kind, action, count }) => ({
      labels: { policy: policy ?? "", kind, action },
      value: count,
    })),
};

const ENFORCEMENT: readonly Family<MetricsSource>[] = [
  {
    name: "sallyport_build_info",
    type: "gauge",
    help: "Always 1; the version, and how packets are queued.",
    read: ({ version, numbers }) => [{ labels: { version, queue_method: numbers.method }, value: 1 }],
  },
  single(
    "gauge",
    "sallyport_ready",
    "1 while enforcement is complete. 0: /readyz and `sallyport status` say why.",
    (s) => (whyNotReady(s.numbers) === null ? 1 : 0),
  ),
  single(
    "gauge",
    "sallyport_epoch",
    "Number of the policies and workloads in force.",
    (s) => s.numbers.epoch.program.epoch,
  ),
  single("gauge", "sallyport_policies", "Policies in force.", (s) => policyCount(s.numbers.epoch.inputs).policies),
  labelled(
    "gauge",
    "sallyport_workloads",
    "Workloads of this node: isolated (default deny), restricted (denied by rule only), observed (never denied). A fall of isolated that nobody meant: a label or a selector was changed.",
    "state",
    ({ numbers: { workloads: w } }) => [
      ["isolated", w.isolated],
      ["restricted", w.restricted],
      ["observed", w.observed],
    ],
  ),
  single(
    "counter",
    "sallyport_applies_total",
    "Changes of policies, workloads or settings that were applied.",
    (s) => s.numbers.counts.applied,
  ),
  single(
    "counter",
    "sallyport_apply_failures_total",
    "Changes that could not be applied; what was in force before goes on. Any: read the log line `apply-failed`.",
    (s) => s.numbers.counts.applyFailures,
  ),
  single(
    "gauge",
    "sallyport_last_apply_seconds",
    "How long the last change took until it was enforced.",
    (s) => s.numbers.counts.lastApplySeconds,
  ),
  single(
    "gauge",
    "sallyport_last_applied_timestamp_seconds",
    "When the last change was enforced, Unix time.",
    (s) => s.numbers.counts.lastAppliedAt / 1000,
  ),
  single(
    "counter",
    "sallyport_ruleset_restored_total",
    "Times that another program changed or flushed our rules and they were put back. Any: find out which program it is.",
    (s) => s.numbers.keeper.restored,
  ),
  labelled(
    "counter",
    "sallyport_rules_packets_total",
    "Packets that the rules themselves dropped or rejected, by the counter's name: docs/guide/metrics.md lists them. Begins anew when the rules are installed. unanswered rising: the lane does not answer.",
    "counter",
    ({ numbers }) => numbers.kernel.rules,
  ),
  labelled(
    "gauge",
    "sallyport_bypasses",
    "Bypasses in force on this node, by scope: nothing that policies deny is denied to the pods they cover. Any for long: somebody forgot a repair.",
    "scope",
    ({ numbers }) =>
      SCOPES.map(
        (scope) =>
          [scope, (numbers.epoch.inputs.bypasses ?? []).filter((bypass) => bypass.scope === scope).length] as const,
      ),
  ),
];

const DECIDED: readonly Family<MetricsSource>[] = [
  DECISIONS,
  labelled(
    "counter",
    "sallyport_denials_total",
    "Denials by reason (docs/guide/reasons.md). NotResolved or NameMissing rising: a rule knows the destination, but the client goes there in another way.",
    "reason",
    ({ numbers }) => numbers.counts.decisions.denials(),
  ),
  labelled(
    "counter",
    "sallyport_audit_differences_total",
    "Decisions that Audit policies would have made otherwise, by what they would have done. Look at these before a policy is enforced.",
    "action",
    ({ numbers }) => Object.entries(numbers.counts.decisions.audit()),
  ),
];

const RECORDS: readonly Family<MetricsSource>[] = [
  single(
    "gauge",
    "sallyport_live_flows",
    "Open flows that would be ended if a change no longer allowed them.",
    (s) => s.numbers.open.size,
  ),
  single(
    "counter",
    "sallyport_records_written_total",
    "Lines of the flow log that were written.",
    (s) => s.numbers.flowLog.counts?.written ?? 0,
  ),
  labelled(
    "counter",
    "sallyport_records_lost_total",
    "Flow records that were lost: where=kernel of flows that the kernel opened by itself, where=ring between lane and main thread (both: short of CPU), where=log because the flow log could not be written fast enough or at all (disk).",
    "where",
    ({ numbers: { counts, flowLog } }) => [
      ["kernel", counts.recordsLostInKernel],
      ["ring", counts.recordsLostOnTheWay],
      ["log", Math.max(0, (flowLog.counts?.lost ?? counts.recordsLost) - counts.recordsLost)],
    ],
  ),
  labelled(
    "counter",
    "sallyport_carried_flows_total",
    "Flows that the kernel opened by itself because one like them had just been allowed: stage=opened as the rules count them (begins anew when they are installed), stage=recorded as the lane was told. Far apart for longer than a second: records are lost.",
    "stage",
    ({ numbers }) => [
      ["opened", numbers.kernel.carried],
      ["recorded", laneNumber(numbers, "carriedRead")],
    ],
  ),
  labelled(
    "counter",
    "sallyport_told_syns_total",
    "SYNs that went on unasked because one like them had just gone on undecided: stage=passed as the rules count them (begins anew when they are installed), stage=read as the lane was told, stage=lost on the way (short of CPU): such a connection is reset when it speaks.",
    "stage",
    ({ numbers }) => [
      ["passed", numbers.kernel.told],
      ["read", laneNumber(numbers, "synsRead")],
      ["lost", laneNumber(numbers, "synsLost")],
    ],
  ),
  single(
    "gauge",
    "sallyport_records_pending_bytes",
    "Bytes of the flow log that wait to be written; lines are lost beyond 8 MiB. Growing: the disk is slow or full.",
    (s) => s.numbers.flowLog.counts?.pendingBytes ?? 0,
  ),
  single(
    "counter",
    "sallyport_endings_lost_total",
    "Times that the kernel dropped news of ended flows because they were not read fast enough. Conntrack is asked then which flows are over.",
    (s) => s.numbers.counts.endingsLost,
  ),
  single(
    "counter",
    "sallyport_endings_found_total",
    "Flows that were found to have ended after such a loss: their end record says closedBy unknown, and has no sizes.",
    (s) => s.numbers.endings.found,
  ),
  single(
    "counter",
    "sallyport_vanished_flows_total",
    "Connections that conntrack does not know. The packet lane gives them up, except DNS over TCP outside conntrack. Their SYN was dropped behind our rules, as by the network policy of a CNI; or nobody was told how they ended. Rising fast: find out who drops what is allowed here.",
    (s) => s.numbers.endings.vanished,
  ),
];

const AROUND: readonly Family<MetricsSource>[] = [
  latencyFamily(
    "sallyport_resolver_seconds",
    "How long the agent's own look-ups took (A and AAAA together). High: packets are held as long; look at the resolvers.",
    ({ numbers }) => numbers.resolver.times.slots,
  ),
  single(
    "counter",
    "sallyport_resolver_failures_total",
    "Names that no resolver answered for. Rising: resolvers are down or not reachable from the node; flows by name are denied.",
    (s) => s.numbers.resolver.failures,
  ),
  single(
    "counter",
    "sallyport_resolver_refused_total",
    "Names not asked for because too many look-ups were under way.",
    (s) => s.numbers.resolver.refused,
  ),
  labelled(
    "counter",
    "sallyport_problems_total",
    "Warnings and errors in the agent's log, by event. Any that keeps rising wants a look; `sallyport status` shows the last ones.",
    "event",
    ({ problems }) => problems.counts(),
  ),
];

/** What the main thread counts. */
export const AGENT_FAMILIES: readonly Family<MetricsSource>[] = [...ENFORCEMENT, ...DECIDED, ...RECORDS, ...AROUND];
