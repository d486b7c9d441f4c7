/** What a line of the flow log tells of. `lost` says how many lines are missing at its place. */
export const RECORD_EVENTS = ["decision", "end", "request", "dns", "lost"] as const;
export type RecordEvent = (typeof RECORD_EVENTS)[number];

/** Names of the fields, in the order in which they stand in a line. */
export const FIELD = {
  time: "time",
  event: "event",
  flowId: "flowId",
  workload: "workload",
  source: "source",
  destination: "destination",
  protocol: "protocol",
  application: "application",
  method: "method",
  path: "path",
  action: "action",
  policy: "policy",
  rule: "rule",
  reason: "reason",
  audit: "audit",
  sent: "sent",
  received: "received",
  durationMs: "durationMs",
  closedBy: "closedBy",
  lost: "lost",
} as const;

export interface RecordWorkload {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly node?: string;
}

export interface RecordEnd {
  readonly address: string;
  /** Absent where the protocol has none. */
  readonly port?: number;
}

export interface RecordDestination extends RecordEnd {
  /** The name in the flow, else a name that the workload resolved to the address. */
  readonly name?: string;
}

export interface RecordOutcome {
  readonly action: string;
  readonly policy?: string;
  readonly rule?: string;
  readonly reason: string;
}

export interface RecordCount {
  readonly packets: number;
  readonly bytes: number;
}

/** One line of the flow log. What is not known is absent, never null. The query of a URL never gets here. */
export interface FlowRecord {
  /** ISO 8601, UTC, milliseconds. */
  readonly time: string;
  readonly event: RecordEvent;
  /** The same in every line of one flow; unique across restarts and nodes. Absent on `lost`. */
  readonly flowId?: string;
  /** Absent when no workload owns the source. */
  readonly workload?: RecordWorkload;
  readonly source?: RecordEnd;
  readonly destination?: RecordDestination;
  /** `TCP`, `UDP`, `ICMP`, `SCTP`, else the number of the IP protocol as text. */
  readonly protocol?: string;
  readonly application?: string;
  readonly method?: string;
  readonly path?: string;
  readonly action?: string;
  /** `Kind/name` or `Kind/namespace/name`; absent where no rule decided. */
  readonly policy?: string;
  readonly rule?: string;
  readonly reason?: string;
  /** What the Audit policies would have made of it, where that differs. */
  readonly audit?: RecordOutcome;
  /** On `end`: from the workload, and towards it. */
  readonly sent?: RecordCount;
  readonly received?: RecordCount;
  readonly durationMs?: number;
  /** On `end`: `closed`, `reset`, `timeout`, `policy`, or `unknown`, with which sizes and duration are not known either. */
  readonly closedBy?: string;
  readonly lost?: number;
}
