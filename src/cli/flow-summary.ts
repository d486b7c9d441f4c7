import type { FlowRecord } from "../flow/record.ts";
import { table } from "./output.ts";

/** A log may name more destinations than memory should hold: the rest is summed up under one name. */
const MOST_KEYS = 50_000;
const OTHERS = "(others)";
const SHOWN = 20;

interface DestinationRow {
  destination: string;
  protocol: string;
  allowed: number;
  denied: number;
  sentBytes: number;
  receivedBytes: number;
}

interface DenialRow {
  policy: string | null;
  rule: string | null;
  reason: string;
  denied: number;
  workloads: number;
}

export interface FlowSummary {
  readonly first: string | null;
  readonly last: string | null;
  readonly allowed: number;
  readonly denied: number;
  readonly lost: number;
  readonly destinations: readonly DestinationRow[];
  readonly denials: readonly DenialRow[];
}

/** Adds records up, in memory that does not grow with the log. */
export class FlowSummarizer {
  private first: string | null = null;
  private last: string | null = null;
  private allowed = 0;
  private denied = 0;
  private lost = 0;
  private readonly destinations = new Map<string, DestinationRow>();
  private readonly denials = new Map<string, DenialRow & { readonly from: Set<string> }>();

  add(record: FlowRecord): void {
    if (this.first === null || record.time < this.first) this.first = record.time;
    if (this.last === null || record.time > this.last) this.last = record.time;
    if (record.event === "lost") {
      this.lost += record.lost ?? 0;
      return;
    }
    const row = this.destinationOf(record);
    if (record.event === "end") {
      row.sentBytes += record.sent?.bytes ?? 0;
      row.receivedBytes += record.received?.bytes ?? 0;
    } else if (record.action === "Deny") {
      this.denied++;
      row.denied++;
      this.addDenial(record);
    } else {
      this.allowed++;
      row.allowed++;
    }
  }

  finish(): FlowSummary {
    const destinations = [...this.destinations.values()].sort((a, b) => b.allowed + b.denied - a.allowed - a.denied);
    const denials = [...this.denials.values()]
      .map(({ from, ...row }) => ({ ...row, workloads: from.size }))
      .sort((a, b) => b.denied - a.denied);
    const { first, last, allowed, denied, lost } = this;
    return { first, last, allowed, denied, lost, destinations, denials };
  }

  private destinationOf(record: FlowRecord): DestinationRow {
    const { destination, protocol = "" } = record;
    const host =
      record.event === "dns" ? `dns ${destination?.name ?? "?"}` : (destination?.name ?? destination?.address ?? "?");
    const port = record.event === "dns" || destination?.port === undefined ? "" : `:${destination.port}`;
    const name = `${host.includes(":") && port !== "" ? `[${host}]` : host}${port}`;
    const make = (destination: string, protocol: string) => ({
      destination,
      protocol,
      allowed: 0,
      denied: 0,
      sentBytes: 0,
      receivedBytes: 0,
    });
    return bounded(
      this.destinations,
      `${protocol} ${name}`,
      () => make(name, protocol),
      () => make(OTHERS, ""),
    );
  }

  private addDenial(record: FlowRecord): void {
    const { policy = null, rule = null, reason = "?" } = record;
    const make = (reason: string) => ({ policy, rule, reason, denied: 0, workloads: 0, from: new Set<string>() });
    const others = () => ({ ...make(OTHERS), policy: null, rule: null });
    const row = bounded(this.denials, JSON.stringify([policy, rule, reason]), () => make(reason), others);
    row.denied++;
    const from = record.workload === undefined ? "?" : `${record.workload.namespace}/${record.workload.name}`;
    if (row.from.size < MOST_KEYS) row.from.add(from);
  }
}

function bounded<T>(map: Map<string, T>, key: string, make: () => T, others: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const full = map.size >= MOST_KEYS;
  const fresh = full ? (map.get(OTHERS) ?? others()) : make();
  map.set(full ? OTHERS : key, fresh);
  return fresh;
}

export function summaryText(summary: FlowSummary): string {
  const { allowed, denied, lost, destinations, denials } = summary;
  const lostText = lost > 0 ? `, ${lost} records lost` : "";
  const head = `${allowed} allowed, ${denied} denied${lostText}${summary.first === null ? "" : `, ${summary.first} to ${summary.last}`}\n`;
  const more = (count: number) => (count > SHOWN ? `... and ${count - SHOWN} more (all of them with -o json)\n` : "");
  const destinationRows = destinations
    .slice(0, SHOWN)
    .map((row) => [
      row.destination,
      row.protocol,
      String(row.allowed),
      String(row.denied),
      String(row.sentBytes),
      String(row.receivedBytes),
    ]);
  const denialRows = denials
    .slice(0, SHOWN)
    .map((row) => [row.policy ?? "-", row.rule ?? "-", row.reason, String(row.denied), String(row.workloads)]);
  const parts = [head];
  if (destinationRows.length > 0) {
    parts.push(
      `\n${table([["DESTINATION", "PROTOCOL", "ALLOWED", "DENIED", "SENT", "RECEIVED"], ...destinationRows])}${more(destinations.length)}`,
    );
  }
  if (denialRows.length > 0) {
    parts.push(
      `\n${table([["DENIED BY", "RULE", "REASON", "DENIED", "WORKLOADS"], ...denialRows])}${more(denials.length)}`,
    );
  }
  return parts.join("");
}
