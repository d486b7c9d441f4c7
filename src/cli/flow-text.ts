import { formatLine } from "../flow/line.ts";
import type { FlowRecord } from "../flow/record.ts";
import { type Format, paint, paintAction, printable, toYaml } from "./output.ts";

const WIDTHS = [24, 8, 6, 24, 40, 24] as const;
const NODE_WIDTH = 20;
const HEADING = row(["TIME", "EVENT", "ACTION", "FROM", "TO", "WHAT", "WHY"]);

/** `wide`: with the node as well. */
type FlowFormat = Format | "wide";

/** What stands above the first record. */
export function flowHeading(format: FlowFormat): string {
  if (format === "json" || format === "yaml") return "";
  return `${paint("quiet", format === "wide" ? `${"NODE".padEnd(NODE_WIDTH)} ${HEADING}` : HEADING)}\n`;
}

/** A record as a line of JSON, a document of YAML or a row of the table. */
export async function recordText(record: FlowRecord, format: FlowFormat): Promise<string> {
  if (format === "json") return `${formatLine(record)}\n`;
  if (format === "yaml") return `---\n${await toYaml(record)}`;
  const node = format === "wide" ? `${printable(record.workload?.node ?? "-").padEnd(NODE_WIDTH)} ` : "";
  return `${node}${recordRow(record)}\n`;
}

function recordRow(record: FlowRecord): string {
  const { workload, source, action = "-" } = record;
  if (record.event === "lost")
    return paint(
      "warn",
      row([printable(record.time), "lost", "", "", "", "", `${record.lost ?? "?"} records are missing here`]),
    );
  const from = workload === undefined ? (source?.address ?? "?") : `${workload.namespace}/${workload.name}`;
  const cells = [record.time, record.event, action, from, destinationText(record), what(record), why(record)].map(
    printable,
  );
  return row(cells, (cell, i) => (i === 2 ? paintAction(action, cell) : cell));
}

function row(cells: readonly string[], painted = (cell: string, _column: number) => cell): string {
  return cells
    .map((cell, i) => painted(cell.padEnd(WIDTHS[i] ?? 0), i))
    .join(" ")
    .trimEnd();
}

function destinationText({ destination, protocol }: FlowRecord): string {
  if (destination === undefined) return "?";
  const { name, address, port } = destination;
  const at = port === undefined ? "" : `:${port}`;
  const host = address.includes(":") && at !== "" ? `[${address}]` : address;
  return `${protocol ?? "?"} ${name === undefined ? `${host}${at}` : `${name}${at} (${address})`}`;
}

function what(record: FlowRecord): string {
  if (record.event === "end") {
    const bytes = record.sent === undefined ? "" : ` ${record.sent.bytes}/${record.received?.bytes ?? 0} bytes`;
    return `${record.closedBy ?? "closed"}${bytes}`;
  }
  const request = record.method === undefined ? "" : ` ${record.method} ${record.path ?? ""}`;
  return `${record.application ?? ""}${request}`.trim();
}

function why(record: FlowRecord): string {
  const rule =
    record.policy === undefined ? "" : ` ${record.policy}${record.rule === undefined ? "" : ` ${record.rule}`}`;
  const audit =
    record.audit === undefined ? "" : ` (audit: ${record.audit.action} by ${record.audit.policy ?? "no policy"})`;
  return `${record.reason ?? ""}${rule}${audit}`.trim();
}
