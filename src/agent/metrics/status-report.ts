import type { Bypass } from "../bypass/bypass.ts";
import type { ClusterReport } from "../cluster/report.ts";
import { policyCount } from "../state.ts";
import type { DecisionCount } from "./decision-counts.ts";
import { latencyQuantile } from "./latency.ts";
import { type AgentNumbers, laneNumber } from "./numbers.ts";
import type { Problem, Problems } from "./problems.ts";
import { whyNotReady } from "./readiness.ts";

/** What `/status` answers and `sallyport status` prints. Times are ISO 8601 in UTC, durations are seconds. */
export interface StatusReport {
  readonly version: string;
  readonly ready: boolean;
  /** Why it is not ready; null when it is. */
  readonly reason: string | null;
  readonly phase: string;
  readonly run: string;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly epoch: {
    readonly number: number;
    readonly adopted: number;
    readonly appliedAt: string | null;
    readonly applies: number;
    readonly lastApplySeconds: number;
    readonly failures: number;
    readonly failure: string | null;
  };
  /** In force: enforcement is set aside for whom they cover. */
  readonly bypasses: readonly Bypass[];
  readonly policies: { readonly enforced: number; readonly audited: number; readonly groups: number };
  readonly workloads: {
    readonly total: number;
    readonly isolated: number;
    readonly restricted: number;
    readonly observed: number;
  };
  readonly queues: {
    readonly method: string;
    readonly failMode: string;
    readonly list: readonly {
      readonly queue: string;
      readonly number: number;
      readonly listening: boolean;
      readonly waiting: number;
      readonly queueDropped: number;
      readonly socketDropped: number;
    }[];
  };
  readonly verdicts: {
    readonly packets: number;
    readonly waiting: number;
    readonly lost: number;
    /** Of the last minute; null where there were none. */
    readonly p50Seconds: number | null;
    readonly p99Seconds: number | null;
  };
  readonly lane: { readonly alive: boolean; readonly restarts: number; readonly flows: number };
  readonly names: {
    readonly bindings: number;
    readonly evicted: number;
    readonly dnsQuestions: number;
    readonly dnsDenied: number;
    readonly resolutions: number;
    readonly resolverFailures: number;
  };
  readonly decisions: readonly DecisionCount[];
  readonly denials: Readonly<Record<string, number>>;
  readonly records: {
    readonly liveFlows: number;
    /** Null: there is no flow log. */
    readonly written: number | null;
    readonly lost: number;
    readonly pendingBytes: number;
    /** Times; and flows that were found to be over after it. */
    readonly endingsLost: number;
    readonly endingsFound: number;
    /** Flows that the kernel opened by itself, and of which the lane was told. */
    readonly carried: number;
  };
  readonly rules: {
    readonly inPlace: boolean | null;
    readonly restored: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
  /** Null: the inputs come from files. */
  readonly cluster: ClusterReport | null;
  readonly limitsReached: number;
  /** Packets dropped for a flood, by workload. */
  readonly floods: Readonly<Record<string, number>>;
  /** Oldest first. */
  readonly problems: readonly Problem[];
}

/** Policies with the most decisions; the rest is in the metrics. */
const MOST_DECISIONS = 50;

/** `recent`: verdict times of the last minute, as slots of a LatencyHistogram. */
export function statusReport(
  numbers: AgentNumbers,
  problems: Problems,
  version: string,
  recent: Float64Array,
): StatusReport {
  const { counts, epoch, keeper, kernel, lane } = numbers;
  const reason = whyNotReady(numbers);
  const { inputs, program } = epoch;
  const { policies, audited } = policyCount(inputs);
  return {
    version,
    ready: reason === null,
    reason,
    phase: counts.phase,
    run: numbers.flowLog.run,
    startedAt: new Date(counts.startedAt).toISOString(),
    uptimeSeconds: Math.round(process.uptime()),
    epoch: {
      number: program.epoch,
      adopted: laneNumber(numbers, "epoch"),
      appliedAt: counts.lastAppliedAt === 0 ? null : new Date(counts.lastAppliedAt).toISOString(),
      applies: counts.applied,
      lastApplySeconds: counts.lastApplySeconds,
      failures: counts.applyFailures,
      failure: counts.applyFailure,
    },
    bypasses: inputs.bypasses ?? [],
    policies: { enforced: policies - audited, audited, groups: inputs.groups.length },
    workloads: numbers.workloads,
    queues: queuesOf(numbers),
    verdicts: {
      packets: laneNumber(numbers, "packets"),
      waiting: laneNumber(numbers, "waiting"),
      lost: laneNumber(numbers, "lostVerdicts"),
      p50Seconds: quantile(recent, 0.5),
      p99Seconds: quantile(recent, 0.99),
    },
    lane: { alive: lane.alive, restarts: lane.restarts, flows: laneNumber(numbers, "flows") },
    names: namesOf(numbers),
    decisions: counts.decisions
      .decisions()
      .sort((a, b) => b.count - a.count)
      .slice(0, MOST_DECISIONS),
    denials: Object.fromEntries(counts.decisions.denials()),
    records: recordsOf(numbers),
    rules: { inPlace: kernel.rulesInPlace, restored: keeper.restored, dropped: Object.fromEntries(kernel.rules) },
    cluster: numbers.cluster,
    limitsReached: laneNumber(numbers, "limitReached"),
    floods: Object.fromEntries(kernel.floods),
    problems: problems.last(),
  };
}

function queuesOf({ epoch, kernel, method }: AgentNumbers): StatusReport["queues"] {
  const list = kernel.queues.map(({ queue, number, statistics }) => ({
    queue,
    number,
    listening: statistics !== null,
    waiting: statistics?.waiting ?? 0,
    queueDropped: statistics?.queueDropped ?? 0,
    socketDropped: statistics?.userDropped ?? 0,
  }));
  return { method, failMode: epoch.inputs.config.failMode, list };
}

function namesOf(numbers: AgentNumbers): StatusReport["names"] {
  return {
    bindings: laneNumber(numbers, "bindings"),
    evicted: laneNumber(numbers, "evicted"),
    dnsQuestions: laneNumber(numbers, "dnsQuestions"),
    dnsDenied: laneNumber(numbers, "dnsDenied"),
    resolutions: laneNumber(numbers, "resolutions"),
    resolverFailures: numbers.resolver.failures,
  };
}

function recordsOf(numbers: AgentNumbers): StatusReport["records"] {
  const { counts, flowLog, endings, open } = numbers;
  const { written = null, lost = counts.recordsLost, pendingBytes = 0 } = flowLog.counts ?? {};
  const carried = laneNumber(numbers, "carriedRead");
  const { endingsLost } = counts;
  const endingsFound = endings.found;
  return { liveFlows: open.size, written, lost, pendingBytes, endingsLost, endingsFound, carried };
}

function quantile(slots: Float64Array, part: number): number | null {
  const milliseconds = latencyQuantile(slots, part);
  return milliseconds === null ? null : milliseconds / 1000;
}
