import type { ClusterReport } from "../../../src/agent/cluster/report.ts";
import { PULSE, PULSE_SLOTS } from "../../../src/agent/lane-messages.ts";
import { DecisionCounts } from "../../../src/agent/metrics/decision-counts.ts";
import { LaneNumbers } from "../../../src/agent/metrics/lane-pulse.ts";
import { LatencyHistogram } from "../../../src/agent/metrics/latency.ts";
import { type AgentNumbers, QUEUES } from "../../../src/agent/metrics/numbers.ts";
import type { FlowEvent } from "../../../src/flow/event.ts";
import type { PolicyKind } from "../../../src/model/policy.ts";

/** The numbers of an agent that is well, with changes. */
export interface Changes {
  readonly phase?: "starting" | "enforcing" | "stopping";
  readonly alive?: boolean;
  readonly rulesInPlace?: boolean | null;
  readonly listening?: boolean;
  readonly adopted?: number;
  readonly applyFailure?: string | null;
  readonly applyingSeconds?: number;
  readonly policy?: string;
  readonly cluster?: ClusterReport | null;
}

export const CLUSTER: ClusterReport = {
  node: "node1",
  server: "https://192.0.2.1:6443",
  state: "catching-up",
  lastContact: "2026-01-01T00:00:00.000Z",
  rememberedFrom: "2025-12-31T00:00:00.000Z",
  requests: 24,
  connections: 25,
  resources: [
    {
      name: "pods",
      phase: "watching",
      synced: true,
      objects: 26,
      lastHeard: null,
      watchRestarts: 27,
      relists: 28,
      linesRefused: 29,
      trouble: null,
    },
    {
      name: "egresspolicies",
      phase: "waiting",
      synced: false,
      objects: 30,
      lastHeard: null,
      watchRestarts: 0,
      relists: 0,
      linesRefused: 0,
      trouble: "HTTP 403: no",
    },
  ],
  refused: [
    {
      kind: "EgressPolicy",
      key: "a/b",
      uid: "u",
      generation: 2,
      reason: "UnknownField",
      problem: "spec.x: what?",
      instead: "strictest",
    },
  ],
  refusedCount: 1,
  coverage: {
    pods: 33,
    crossing: 30,
    unknown: 2,
    openAtStart: 4,
    reasons: { NotRoutedByNode: 1 },
    notEnforced: [{ namespace: "a", pod: "lan", reason: "NotRoutedByNode", message: "by `eth0`", selected: true }],
  },
  runtime: {
    socket: "/var/run/nri/nri.sock",
    connected: true,
    runtime: "containerd v2.4.2",
    trouble: null,
    connections: 41,
    sandboxes: 42,
    disagreements: 43,
    starts: { inForce: 44, late: 45, notWaited: 46, waitSeconds: 47.5 },
  },
};

export function numbersOf(changes: Changes = {}): AgentNumbers {
  const pulse = Float64Array.from({ length: PULSE_SLOTS }, (_, slot) => (slot >= PULSE.verdictTimes ? 0 : slot));
  pulse[PULSE.epoch] = changes.adopted ?? 3;
  const times = new LatencyHistogram(pulse.subarray(PULSE.verdictTimes));
  times.add(0.07, 10);
  const decisions = new DecisionCounts();
  const policy = changes.policy ?? "ClusterEgressPolicy/app";
  const [kind, ...rest] = policy.split("/") as [PolicyKind, ...string[]];
  decisions.setPolicies([{ kind, namespace: rest.length > 1 ? rest[0]! : null, name: rest.at(-1)! }]);
  for (const action of ["Allow", "Deny"] as const) {
    const decision = { action, policy, rule: "r", reason: "RuleMatched" };
    decisions.count({ kind: "flow", decision, audit: decision } as FlowEvent);
  }
  const statistics = changes.listening === false ? null : { waiting: 1, queueDropped: 2, userDropped: 3 };
  return {
    epoch: { inputs: { policies: [], groups: [], config: { failMode: "Closed" } }, program: { epoch: 3 } },
    method: "xtables",
    counts: {
      phase: changes.phase ?? "enforcing",
      startedAt: 0,
      applied: 2,
      applyFailures: 1,
      applyFailure: changes.applyFailure ?? null,
      applyingSeconds: changes.applyingSeconds ?? 0,
      lastApplySeconds: 0.02,
      lastAppliedAt: 1000,
      recordsLostOnTheWay: 4,
      recordsLostInKernel: 0,
      recordsLost: 4,
      endingsLost: 5,
      decisions,
    },
    lane: { alive: changes.alive ?? true, restarts: 6 },
    laneNumbers: new LaneNumbers(() => pulse),
    keeper: { restored: 7 },
    floods: { policed: 24, crowding: 26 },
    resolver: { times: new LatencyHistogram(), failures: 8, refused: 9 },
    open: { size: 10 },
    endings: { found: 25, vanished: 26 },
    flowLog: { run: "abcd", counts: { written: 11, lost: 12, pendingBytes: 13 } },
    journal: { counters: { records: 18, compactions: 19, failures: 20, unwritten: 21, leftOut: 22, size: 23 } },
    kernel: {
      rulesInPlace: changes.rulesInPlace === undefined ? true : changes.rulesInPlace,
      queues: QUEUES.map((queue, i) => ({ queue, number: 5100 + i, statistics })),
      rules: new Map([["spoofed", 14]]),
      floods: new Map([["app-ns/wild", 25]]),
      carried: 25,
      conntrack: { entries: 15, limit: 16, dropped: 17 },
    },
    cluster: changes.cluster === undefined ? CLUSTER : changes.cluster,
    workloads: { total: 6, isolated: 3, restricted: 2, observed: 1 },
  } as unknown as AgentNumbers;
}
