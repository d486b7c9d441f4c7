import { once } from "node:events";
import { formatLine, parseLine } from "../flow/line.ts";
import type { FlowRecord } from "../flow/record.ts";
import { EXIT, UsageError } from "./failure.ts";
import { type FilterOptions, flowFilter } from "./flow-filter.ts";
import { followLines, readLines } from "./flow-lines.ts";
import { FlowSummarizer, summaryText } from "./flow-summary.ts";
import { type Format, paint, paintAction, printAs, printable, toYaml } from "./output.ts";

interface Options extends FilterOptions {
  readonly follow?: boolean;
  readonly summary?: boolean;
  readonly output: Format;
}

/** Reads a flow log to its end, or on and on with `--follow`. Lines that are no records are counted and said. */
export async function flows(path: string, options: Options): Promise<void> {
  if (options.follow === true && options.summary === true)
    throw new UsageError("`--follow` has no end to sum up: leave `--summary` out");
  const keep = flowFilter(options, Date.now());
  const stop = new AbortController();
  if (options.follow === true)
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const lines = options.follow === true && path !== "-" ? followLines(path, stop.signal) : readLines(path);
  const summary = options.summary === true ? new FlowSummarizer() : null;
  let heading = options.output === "table" ? `${paint("quiet", HEADING)}\n` : "";
  let broken = 0;
  try {
    for await (const line of lines) {
      const record = parseLine(line);
      if (record === null) broken++;
      else if (keep(record)) {
        if (summary !== null) summary.add(record);
        else {
          await write(heading + (await recordText(record, options.output)));
          heading = "";
        }
      }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new UsageError(`\`${path}\` cannot be read: ${(error as Error).message}`);
  }
  if (summary !== null) {
    const result = summary.finish();
    await printAs(options.output, { ...result, broken }, () => summaryText(result));
  }
  if (broken > 0)
    process.stderr.write(`sallyport: ${broken} ${broken === 1 ? "line is" : "lines are"} no flow record\n`);
  process.exitCode = EXIT.ok;
}

/** Waits where the reader is slow, so that a large log does not pile up in memory. */
async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

const WIDTHS = [24, 8, 6, 24, 40, 24] as const;
const HEADING = row(["TIME", "EVENT", "ACTION", "FROM", "TO", "WHAT", "WHY"]);

async function recordText(record: FlowRecord, format: Format): Promise<string> {
  if (format === "json") return `${formatLine(record)}\n`;
  if (format === "yaml") return `---\n${await toYaml(record)}`;
  return `${recordRow(record)}\n`;
}

function recordRow(record: FlowRecord): string {
  const { workload, source, action = "-" } = record;
  if (record.event === "lost")
    return paint("warn", row([record.time, "lost", "", "", "", "", `${record.lost ?? "?"} records are missing here`]));
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
