import type { Outcome } from "./rows.ts";

/** Colours for a terminal, or none. */
export interface Palette {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly denied: (text: string) => string;
  readonly dim: (text: string) => string;
}

export function palette(colour: boolean): Palette {
  const code = (number: number) => (text: string) => (colour ? `\u001b[${number}m${text}\u001b[0m` : text);
  return { good: code(32), bad: code(31), denied: code(33), dim: code(2) };
}

/** The lines of one pod: attempts that came out the same over IPv4 and IPv6 are one line. */
export function podTable(pod: string, outcomes: readonly Outcome[], paint: Palette): string {
  const groups = Map.groupBy(outcomes, lineKey);
  const lines = [...groups.values()].map((group) => line(group, paint));
  return [`\n${pod}`, ...lines].join("\n");
}

/** One line for each of these; what differs stands on lines of its own. */
function lineKey({ row, result, record, problem }: Outcome): string {
  return JSON.stringify([
    row.name,
    row.to,
    row.ip,
    result.reached,
    problem,
    record?.policy,
    record?.rule,
    record?.reason,
  ]);
}

function line(group: readonly Outcome[], paint: Palette): string {
  const { row, result, problem } = group[0] as Outcome;
  const mark = problem === null ? paint.good("ok   ") : paint.bad("WRONG");
  const to = row.ip === undefined ? row.to : `${row.to} at ${row.ip}`;
  const reached = result.reached ? paint.good("reached") : paint.denied("denied ");
  const families = group.map(({ row: { family } }) => (family === undefined ? "" : `v${family}`)).join(" ");
  const text = `  ${mark} ${to.padEnd(52)} ${reached} ${families.padEnd(6)}${result.saw.slice(0, 36).padEnd(37)}${why(group[0] as Outcome)}`;
  return problem === null ? text : `${text}\n        ${paint.bad(problem)}; tried: ${result.command}`;
}

/** Policy and rule that decided, or the reason where none did. */
function why({ record }: Outcome): string {
  if (record === null) return "inside the cluster";
  const by = [record.policy?.split("/").slice(1).join("/"), record.rule]
    .filter((part) => part !== undefined)
    .join(" / ");
  return record.reason === "RuleMatched" ? by : [record.reason, by].filter((part) => part !== "").join(", ");
}
