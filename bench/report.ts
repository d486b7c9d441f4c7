/** What was measured, as JSON and as tables: each measure beside the limit that the project sets itself. */
import type { LaneCost } from "./lane-cost.ts";
import { CONTENDERS, type Contender } from "./loads.ts";
import type { LoadMeasure } from "./rounds.ts";
import type { ScaleResult } from "./scale.ts";
import { spread, summarize } from "./statistics.ts";
import { number, table } from "./table.ts";

export interface Report {
  readonly date: string;
  readonly commit: string;
  readonly command: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number };
  readonly versions: Readonly<Record<string, string>>;
  /** Load averages of one minute, before and after: what else ran on the machine. */
  readonly load: readonly [before: number, after: number];
  readonly loads: readonly LoadMeasure[];
  readonly lane: readonly LaneCost[];
  readonly names: NameCost | null;
  readonly scale: ScaleResult | null;
}

export interface NameCost {
  readonly names: number;
  readonly hitNanoseconds: number;
  readonly missNanoseconds: number;
  readonly bytesEach: number;
}

interface Row {
  readonly what: string;
  readonly value: string;
  readonly least: string;
  readonly aim: string;
  readonly holds: boolean | null;
}

const TITLES: Readonly<Record<Contender, string>> = {
  none: "no firewall",
  sallyport: "Sallyport",
  queue: "C loop",
  nginx: "nginx",
  haproxy: "HAProxy",
  squid: "Squid",
};

/** Markdown: medians of all contenders, then the limits. */
export function renderReport(report: Report): string {
  const parts = [head(report)];
  if (report.loads.length > 0) parts.push(loadTable(report.loads));
  const rows = limits(report);
  if (rows.length > 0) parts.push(limitTable(rows));
  return `${parts.join("\n\n")}\n`;
}

function head({ date, commit, machine, versions, load, loads }: Report): string {
  const disturbed = loads.reduce((sum, measure) => sum + measure.disturbed, 0);
  const runs = loads.reduce((sum, { results }) => sum + Object.values(results).flatMap((of) => of.rounds).length, 0);
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${date}, commit ${commit}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${programs.join(", ")}.`,
    `Load average before ${load[0].toFixed(2)}, after ${load[1].toFixed(2)}. Median of the rounds, ± half the distance between their extremes. ${disturbed} of ${runs} runs had others beside them that took more than a twelfth of the machine.`,
  ].join("\n");
}

function loadTable(loads: readonly LoadMeasure[]): string {
  const rows = loads.map((measure) => [
    `${measure.title}, ${measure.unit}`,
    ...CONTENDERS.map((contender) => cell(measure, contender)),
    ratio(measure, "sallyport", "none")?.toFixed(2) ?? "",
    ratio(measure, "queue", "none")?.toFixed(2) ?? "",
  ]);
  const ratios = ["Sallyport ÷ no firewall", "C loop ÷ no firewall"];
  return table(["", ...CONTENDERS.map((contender) => TITLES[contender]), ...ratios], rows);
}

function cell({ results }: LoadMeasure, contender: Contender): string {
  const of = results[contender];
  if (of === undefined) return "";
  const failures = of.failed > 0 ? ` (${of.failed} failed)` : "";
  return `${number(of.median)} ± ${spread(of).toFixed(0)} %${failures}`;
}

function limitTable(rows: readonly Row[]): string {
  const word = (holds: boolean | null) => (holds === null ? "" : holds ? "yes" : "**no**");
  return table(
    ["measure", "measured", "at least", "aim", "holds"],
    rows.map(({ what, value, least, aim, holds }) => [what, value, least, aim, word(holds)]),
  );
}

/** The middle of the rounds' own ratios: what disturbed one round disturbed both of its sides. */
function ratio(measure: LoadMeasure | undefined, a: Contender, b: Contender): number | null {
  const [x, y] = [measure?.results[a]?.rounds, measure?.results[b]?.rounds];
  if (x === undefined || y === undefined) return null;
  const ratios = x.flatMap((value, round) => (y[round] ? [value / y[round]] : []));
  return ratios.length === 0 ? null : summarize(ratios).median;
}

/** Every limit of the project that this run can speak about. */
function limits(report: Report): Row[] {
  const by = new Map(report.loads.map((measure) => [measure.id, measure]));
  const rows: Row[] = [];
  const floor = (what: string, value: number | null, least: number, aim: number | null) => {
    if (value === null) return;
    rows.push({
      what,
      value: value.toFixed(2),
      least: String(least),
      aim: aim === null ? "" : String(aim),
      holds: value >= least,
    });
  };
  const ceiling = (what: string, value: number | null, unit: string, most: number, aim: number) => {
    if (value === null) return;
    rows.push({
      what,
      value: `${number(value)} ${unit}`,
      least: `${most} ${unit}`,
      aim: `${aim} ${unit}`,
      holds: value <= most,
    });
  };
  const added = (id: string): number | null => {
    const { none, sallyport } = by.get(id)?.results ?? {};
    if (none === undefined || sallyport === undefined) return null;
    return summarize(sallyport.rounds.map((value, round) => value - (none.rounds[round] ?? 0))).median;
  };
  floor("new TLS connections ÷ no firewall", ratio(by.get("tls"), "sallyport", "none"), 0.8, 0.95);
  floor("new TLS connections ÷ nginx", ratio(by.get("tls"), "sallyport", "nginx"), 1.25, null);
  floor("new TLS connections ÷ HAProxy", ratio(by.get("tls"), "sallyport", "haproxy"), 1.7, null);
  ceiling("one new TLS connection, p50 added", added("tls-one"), "µs", 60, 30);
  floor("bulk download ÷ no firewall", ratio(by.get("bulk"), "sallyport", "none"), 0.97, 1);
  floor("HTTP requests ÷ best proxy", bestProxy(by.get("http")), 1, 1.5);
  floor("HTTP requests ÷ no firewall", ratio(by.get("http"), "sallyport", "none"), 0.6, 0.8);
  floor("DNS questions ÷ no firewall", ratio(by.get("dns"), "sallyport", "none"), 0.6, 0.9);
  ceiling("one DNS question, p50 added", added("dns-one"), "µs", 80, 30);
  floor("new UDP flows by address ÷ no firewall", ratio(by.get("udp"), "sallyport", "none"), 0.85, 0.95);
  floor("new TCP flows by address ÷ no firewall", ratio(by.get("tcp"), "sallyport", "none"), 0.85, 0.95);
  for (const { load, lane, c } of report.lane) {
    floor(`packet lane (${load}), ${number(lane.median)} packets/s of one core ÷ C`, lane.median / c.median, 0.5, 0.8);
  }
  const { names, scale } = report;
  if (names !== null) {
    ceiling("name look-up among 1,000,000", Math.max(names.hitNanoseconds, names.missNanoseconds), "ns", 400, 150);
    ceiling("memory a name", names.bytesEach, "B", 40, 20);
  }
  if (scale !== null) {
    ceiling("policy change to enforced, 10,000 policies, p99", scale.change.p99, "ms", 300, 50);
    ceiling("start to ready, 10,000 policies, 110 pods", scale.ready.median, "ms", 3000, 1000);
    ceiling("agent memory then", scale.memory.rest, "MiB", 150, 100);
  }
  return rows;
}

function bestProxy(measure: LoadMeasure | undefined): number | null {
  const ratios = (["nginx", "haproxy", "squid"] as const).map((rival) => ratio(measure, "sallyport", rival));
  const known = ratios.filter((value): value is number => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}
