import { escapeUnsafe } from "./json-text.ts";
import {
  FIELD,
  type FlowRecord,
  RECORD_EVENTS,
  type RecordCount,
  type RecordDestination,
  type RecordEnd,
  type RecordOutcome,
  type RecordWorkload,
} from "./record.ts";

const ORDER: readonly (keyof FlowRecord)[] = Object.values(FIELD);

/** The record as one line of JSON without its newline: keys in the order of FIELD, labels sorted, ASCII controls escaped. */
export function formatLine(record: FlowRecord): string {
  const ordered: Record<string, unknown> = {};
  for (const key of ORDER) {
    const value = record[key];
    if (value !== undefined) ordered[key] = key === "workload" ? inOrder(value as RecordWorkload) : value;
  }
  return escapeUnsafe(JSON.stringify(ordered));
}

/** A workload as it stands in a line. */
export function workloadText(workload: RecordWorkload): string {
  return JSON.stringify(inOrder(workload));
}

function inOrder(workload: RecordWorkload): RecordWorkload {
  const { namespace, name, serviceAccount, node } = workload;
  const pairs = Object.entries(workload.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const labels = Object.fromEntries(pairs);
  return node === undefined
    ? { namespace, name, labels, serviceAccount }
    : { namespace, name, labels, serviceAccount, node };
}

/** Reads a line that `formatLine` wrote; null: it is none. Fields that are not ours are left out. Never throws. */
export function parseLine(line: string): FlowRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (!isObject(value) || typeof value.time !== "string") return null;
  if (!RECORD_EVENTS.includes(value.event as (typeof RECORD_EVENTS)[number])) return null;
  const record: Record<string, unknown> = {};
  for (const key of ORDER) {
    const field = value[key];
    if (field === undefined) continue;
    const read = READ[key](field);
    if (read === undefined) return null;
    record[key] = read;
  }
  return record as unknown as FlowRecord;
}

type Reader = (value: unknown) => unknown;

const text: Reader = (value) => (typeof value === "string" ? value : undefined);
const number: Reader = (value) => (typeof value === "number" ? value : undefined);

const READ: Readonly<Record<keyof FlowRecord, Reader>> = {
  time: text,
  event: text,
  flowId: text,
  workload: readWorkload,
  source: readEnd,
  destination: readDestination,
  protocol: text,
  application: text,
  method: text,
  path: text,
  action: text,
  policy: text,
  rule: text,
  reason: text,
  audit: readOutcome,
  sent: readCount,
  received: readCount,
  durationMs: number,
  closedBy: text,
  lost: number,
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Undefined: a field is missing or of another type. */
function readFields(
  value: unknown,
  needed: Readonly<Record<string, Reader>>,
  optional: Readonly<Record<string, Reader>> = {},
): Record<string, unknown> | undefined {
  if (!isObject(value)) return undefined;
  const read: Record<string, unknown> = {};
  for (const [fields, must] of [
    [needed, true],
    [optional, false],
  ] as const) {
    for (const key of Object.keys(fields)) {
      if (!Object.hasOwn(value, key) && !must) continue;
      const field = fields[key]!(value[key]);
      if (field === undefined) return undefined;
      read[key] = field;
    }
  }
  return read;
}

function readWorkload(value: unknown): RecordWorkload | undefined {
  const needed = { namespace: text, name: text, labels: readLabels, serviceAccount: text };
  return readFields(value, needed, { node: text }) as RecordWorkload | undefined;
}

function readLabels(value: unknown): Record<string, string> | undefined {
  if (!isObject(value)) return undefined;
  return Object.values(value).every((label) => typeof label === "string")
    ? (value as Record<string, string>)
    : undefined;
}

function readEnd(value: unknown): RecordEnd | undefined {
  return readFields(value, { address: text }, { port: number }) as RecordEnd | undefined;
}

function readDestination(value: unknown): RecordDestination | undefined {
  return readFields(value, { address: text }, { name: text, port: number }) as RecordDestination | undefined;
}

function readOutcome(value: unknown): RecordOutcome | undefined {
  return readFields(value, { action: text, reason: text }, { policy: text, rule: text }) as RecordOutcome | undefined;
}

function readCount(value: unknown): RecordCount | undefined {
  return readFields(value, { packets: number, bytes: number }) as RecordCount | undefined;
}
