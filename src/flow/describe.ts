import type { Decision } from "../model/decision.ts";
import type { Workload } from "../model/workload.ts";
import { formatAddress } from "../net/address.ts";
import type { FlowEvent, FlowTuple } from "./event.ts";
import type { FlowRecord, RecordCount, RecordEvent, RecordOutcome, RecordWorkload } from "./record.ts";

export const RECORD_EVENT: Readonly<Record<FlowEvent["kind"], RecordEvent>> = {
  flow: "decision",
  request: "request",
  dns: "dns",
};
export const PROTOCOL_NAMES = new Map([
  [1, "ICMP"],
  [6, "TCP"],
  [17, "UDP"],
  [58, "ICMP"],
  [132, "SCTP"],
]);
export const WITH_PORTS = new Set([6, 17, 132]);

/** How a flow is named in records and answers: the run of the agent on its node, and the number that the inspector gave. */
export function flowIdText(run: string, flowId: number): string {
  return `${run}-${flowId}`;
}

/** The record of a decision, a request or a DNS question. `workload` null: nobody owns the source. */
export function recordOf(event: FlowEvent, workload: Workload | null, run: string): FlowRecord {
  const { decision } = event;
  return {
    time: new Date(event.time).toISOString(),
    event: RECORD_EVENT[event.kind],
    flowId: flowIdText(run, event.flowId),
    ...(workload === null ? {} : { workload: describeWorkload(workload) }),
    ...describeTuple(event.tuple, event.name),
    application: event.application,
    ...(event.method === null ? {} : { method: event.method }),
    ...(event.path === null ? {} : { path: withoutQuery(event.path) }),
    ...describeDecision(decision),
    ...(event.audit === null ? {} : { audit: describeDecision(event.audit) }),
  };
}

export interface FlowEnd {
  readonly flowId: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly tuple: FlowTuple;
  readonly name: string | null;
  readonly application: string;
  readonly decision: Decision;
  /** Null: nobody knows. */
  readonly counts: { readonly sent: RecordCount; readonly received: RecordCount; readonly durationMs: number } | null;
  readonly closedBy: string;
}

/** The record of the end of a flow. */
export function endRecordOf(end: FlowEnd, workload: Workload | null, run: string): FlowRecord {
  return {
    time: new Date(end.time).toISOString(),
    event: "end",
    flowId: flowIdText(run, end.flowId),
    ...(workload === null ? {} : { workload: describeWorkload(workload) }),
    ...describeTuple(end.tuple, end.name),
    application: end.application,
    ...describeDecision(end.decision),
    ...end.counts,
    closedBy: end.closedBy,
  };
}

/** The record that stands where `count` others are missing. */
export function lostRecordOf(count: number, time: number): FlowRecord {
  return { time: new Date(time).toISOString(), event: "lost", lost: count };
}

export function describeWorkload(workload: Workload): RecordWorkload {
  const { namespace, name, labels, serviceAccount, node } = workload;
  return { namespace, name, labels, serviceAccount, ...(node === null ? {} : { node }) };
}

function describeTuple(
  tuple: FlowTuple,
  name: string | null,
): Required<Pick<FlowRecord, "source" | "destination" | "protocol">> {
  const ports = WITH_PORTS.has(tuple.protocol);
  return {
    source: { address: formatAddress(tuple.client), ...(ports ? { port: tuple.clientPort } : {}) },
    destination: {
      ...(name === null ? {} : { name }),
      address: formatAddress(tuple.server),
      ...(ports ? { port: tuple.serverPort } : {}),
    },
    protocol: PROTOCOL_NAMES.get(tuple.protocol) ?? String(tuple.protocol),
  };
}

function describeDecision(decision: Decision): RecordOutcome {
  const { action, policy, rule, reason } = decision;
  return { action, ...(policy === null ? {} : { policy }), ...(rule === null ? {} : { rule }), reason };
}

/** Queries carry tokens and personal data. The path comes without one; a log is not the place to trust that. */
export function withoutQuery(path: string): string {
  const at = path.search(/[?#]/);
  return at < 0 ? path : path.slice(0, at);
}
