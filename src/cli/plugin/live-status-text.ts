import { ageOf } from "../duration.ts";
import { paint, printable, table } from "../output.ts";
import { readinessLine } from "../status-text.ts";
import { bypassText } from "./bypass.ts";
import { sumText } from "./denials.ts";
import type { Unseen } from "./live-cluster.ts";
import type { LiveStatus } from "./live-status.ts";

const SHOWN = 20;

/** A page for people: the verdict first, then what is counted, then what is wrong. `wide`: all of it. */
export function liveStatusText(status: LiveStatus, wide: boolean): string {
  const [first = null, ...more] = status.reasons;
  const head = `${readinessLine(status.ready ? null : first, status.notEnforcedPods)}${more.map((line) => `  ${printable(line)}\n`).join("")}`;
  const parts = [head, facts(status), nodes(status, wide), objects(status, wide), unseenText(status.unseen)];
  return parts.filter((part) => part !== "").join("\n");
}

function facts({ nodes, objects, controllers, notEnforcedPods, denials }: LiveStatus): string {
  const versions = Map.groupBy(nodes.list, ({ agentVersion }) => agentVersion ?? "none");
  const agents = [...versions].map(([version, list]) => `${version} on ${list.length}`).join(", ");
  const { pods, ready, holder, renewedAt } = controllers;
  const led =
    holder === null
      ? "none leads"
      : `\`${holder}\` leads${renewedAt === null ? "" : `, renewed ${ageOf(renewedAt)} ago`}`;
  const rows: [string, string][] = [
    ["nodes", `${nodes.ready}/${nodes.total} ready`],
    ["agents", agents || "none"],
    [
      "policies",
      `${objects.total} policies, groups and settings: ${objects.accepted} accepted, ${objects.programmed} programmed`,
    ],
    ["controllers", `${pods === null ? "not looked at" : `${ready}/${pods} ready`}; ${led}`],
    [
      "pods",
      notEnforcedPods === 0
        ? "none that policies do not hold"
        : `${notEnforcedPods} that policies do not hold: see \`coverage -A\``,
    ],
    ["denials", sumText(denials)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${paint("quiet", name.padEnd(width))}  ${printable(text)}\n`).join("");
}

function nodes({ nodes: { list } }: LiveStatus, wide: boolean): string {
  // Those that want attention first.
  const good = ({ ready, bypasses, remarks }: (typeof list)[number]): number =>
    Number(ready && bypasses.length === 0 && remarks.length === 0);
  const sorted = list.toSorted((a, b) => good(a) - good(b));
  const shown = wide ? sorted : sorted.slice(0, SHOWN);
  if (shown.length === 0) return "";
  const rows = shown.map(({ node, ready, agentVersion, observedAt, notEnforcedPods, reason, ...more }) => [
    node,
    ready ? "yes" : "NO",
    agentVersion ?? "-",
    observedAt === null ? "-" : `${ageOf(observedAt)} ago`,
    String(notEnforcedPods),
    [...(reason === null ? [] : [reason]), ...more.bypasses.map(bypassText), ...more.remarks].join("; "),
  ]);
  const text = table([["NODE", "READY", "AGENT", "LAST NEWS", "NOT ENFORCED", "WHY"], ...rows], (cell, column) =>
    column === 1 ? paint(cell === "yes" ? "allow" : "deny", cell) : cell,
  );
  return `${text}${leftOut(list.length - shown.length, "nodes")}`;
}

function objects({ objects: { troubled } }: LiveStatus, wide: boolean): string {
  if (troubled.length === 0) return "";
  const shown = wide ? troubled : troubled.slice(0, SHOWN);
  const rows = shown.map(({ object, accepted, programmed, why }) => [object, accepted ?? "-", programmed ?? "-", why]);
  return `${table([["NOT AS WRITTEN", "ACCEPTED", "PROGRAMMED", "WHY"], ...rows])}${leftOut(troubled.length - shown.length, "objects")}`;
}

function leftOut(count: number, what: string): string {
  return count > 0 ? `... and ${count} more ${what} (all of them with -o wide)\n` : "";
}

/** What was told without having been looked at. */
export function unseenText(unseen: readonly Unseen[]): string {
  return unseen
    .map(({ what, why }) => `${paint("warn", "not looked at")}: ${printable(`${what} (${why})`)}\n`)
    .join("");
}
