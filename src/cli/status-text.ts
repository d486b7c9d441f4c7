import type { StatusReport } from "../agent/metrics/status-report.ts";
import { duration } from "./duration.ts";
import { paint, printable, table } from "./output.ts";

const SHOWN_DECISIONS = 10;
const SHOWN_PROBLEMS = 5;
const SHOWN_FLOODS = 5;
const SHOWN_PODS = 10;

/** A page for people: the verdict first, then what is enforced, how it goes, and what went wrong. */
export function statusText(report: StatusReport): string {
  const reason = report.ready ? null : (report.reason ?? "it does not say why");
  const head = readinessLine(reason, notEnforced(report.cluster));
  return [head, facts(report), decisions(report), problems(report)].filter((part) => part !== "").join("\n");
}

/** `reason`: why not everything is enforced; null: it is. `bare`: pods that policies do not hold. */
export function readinessLine(reason: string | null, bare: number): string {
  if (reason !== null) return `${paint("deny", "NOT READY")}: ${printable(reason)}\n`;
  const but = bare === 0 ? "" : `, but ${paint("deny", `${bare === 1 ? "1 pod is" : `${bare} pods are`} NOT HELD`)}`;
  return `${paint("allow", "ready")}: everything is enforced${but}\n`;
}

function facts(report: StatusReport): string {
  const { epoch, policies, workloads, queues, verdicts, lane, names, records, rules } = report;
  const rows: [string, string][] = [
    ["agent", `${report.version}, run ${report.run}, up ${duration(report.uptimeSeconds)}`],
    [
      "enforced",
      `epoch ${epoch.number} since ${epoch.appliedAt ?? "never"}, last change took ${milliseconds(epoch.lastApplySeconds)}${epoch.failures > 0 ? `, ${epoch.failures} failed` : ""}`,
    ],
    ...bypassRows(report.bypasses ?? []),
    ["policies", `${policies.enforced} enforced, ${policies.audited} audited, ${policies.groups} groups`],
    [
      "workloads",
      `${workloads.total}: ${workloads.isolated} isolated, ${workloads.restricted} restricted, ${workloads.observed} observed`,
    ],
    ["rules", `${rulesWord(rules.inPlace)}, put back ${times(rules.restored)}${dropped(rules.dropped)}`],
    [
      "lane",
      `${lane.alive ? "gives verdicts" : "does not beat"}, replaced ${times(lane.restarts)}, reads ${lane.flows} flows`,
    ],
    [
      "verdicts",
      `p50 ${milliseconds(verdicts.p50Seconds)}, p99 ${milliseconds(verdicts.p99Seconds)} in the last minute; ${verdicts.packets} packets, ${verdicts.waiting} held, ${verdicts.lost} lost`,
    ],
    ...queues.list.map((queue): [string, string] => [
      `queue ${queue.number}`,
      `${queue.queue}, ${queues.method}, ${queue.listening ? "bound" : "NOT BOUND"}: ${queue.waiting} wait, ${queue.queueDropped} dropped (full), ${queue.socketDropped} dropped (socket)`,
    ]),
    [
      "names",
      `${names.bindings} bindings, ${names.evicted} evicted; DNS ${names.dnsQuestions} asked, ${names.dnsDenied} denied; resolver ${names.resolutions} asked, ${names.resolverFailures} failed`,
    ],
    ...clusterRows(report.cluster ?? null),
    [
      "flows",
      `${records.liveFlows} open; ${log(records)}; ${times(report.limitsReached)} a workload's limit was reached`,
    ],
  ];
  const floods = Object.entries(report.floods).sort(([, a], [, b]) => b - a);
  if (floods.length > 0) rows.push(["floods", floodsText(floods)]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${paint("quiet", name.padEnd(width))}  ${printable(text)}\n`).join("");
}

function bypassRows(bypasses: StatusReport["bypasses"]): [string, string][] {
  return bypasses.map(({ id, scope, namespace, until, reason, by }) => {
    const whom = { Namespace: `pods of ${namespace}`, Node: "all pods", All: "everything" }[scope];
    return ["BYPASS", `${id}: nothing is denied to ${whom} until ${until}, by ${by}: ${reason}`];
  });
}

/** An agent of an earlier version says nothing of it. */
function clusterRows(cluster: StatusReport["cluster"]): [string, string][] {
  if (cluster === null) return [];
  const { state, server, lastContact, rememberedFrom, resources, refused, refusedCount } = cluster;
  const restarts = resources.reduce((sum, { watchRestarts, relists }) => sum + watchRestarts + relists, 0);
  const word = state === "away" ? "AWAY" : state;
  const old = rememberedFrom === null ? "" : `; ENFORCED FROM MEMORY of ${rememberedFrom}`;
  const objects = resources.map(({ name, objects, phase }) => `${name} ${phase === "absent" ? "-" : objects}`);
  const rows: [string, string][] = [
    [
      "API server",
      `${word}, ${server}, last heard ${lastContact ?? "never"}, watches renewed ${times(restarts)}${old}`,
    ],
    ["objects", objects.join(", ")],
  ];
  rows.push(...runtimeRows(cluster.runtime ?? null), ...coverageRows(cluster.coverage));
  for (const { name, trouble } of resources) if (trouble !== null) rows.push([`watch`, `${name}: ${trouble}`]);
  for (const { kind, key, problem, instead } of refused.slice(0, SHOWN_PROBLEMS)) {
    rows.push(["refused", `${kind} ${key} (${INSTEAD[instead]}): ${problem}`]);
  }
  if (refusedCount > SHOWN_PROBLEMS) rows.push(["refused", `${refusedCount - SHOWN_PROBLEMS} more`]);
  return rows;
}

function runtimeRows(runtime: NonNullable<StatusReport["cluster"]>["runtime"]): [string, string][] {
  if (runtime === null) return [];
  const { connected, trouble, sandboxes, starts, disagreements } = runtime;
  if (!connected) return [["runtime", `NOT CONNECTED, ${runtime.socket}: ${trouble ?? "not yet"}`]];
  const { inForce, late, notWaited } = starts;
  const other = disagreements > 0 ? `, other addresses than the API server's ${times(disagreements)}` : "";
  const began = `${inForce} pods known before they started, ${late} late, ${notWaited} not waited for`;
  return [["runtime", `${runtime.runtime ?? ""} tells of ${sandboxes} sandboxes; ${began}${other}`]];
}

/** An agent of an earlier version says nothing of it. */
type Coverage = NonNullable<StatusReport["cluster"]>["coverage"] | undefined;

function notEnforced(cluster: StatusReport["cluster"] | undefined): number {
  const coverage: Coverage = cluster?.coverage;
  return coverage === undefined ? 0 : coverage.pods - coverage.crossing - coverage.unknown;
}

function coverageRows(coverage: Coverage): [string, string][] {
  if (coverage === undefined) return [];
  const { pods, crossing, unknown } = coverage;
  const bare = pods - crossing - unknown;
  const shown = coverage.notEnforced.slice(0, SHOWN_PODS);
  const rows: [string, string][] = [
    ["pods", `${pods}: ${crossing} cross the rules, ${unknown} not known yet, ${bare} not enforced`],
    ...shown.map(({ namespace, pod, reason, message }): [string, string] => [
      "not held",
      `${namespace}/${pod} (${reason}): ${message}`,
    ]),
  ];
  if (coverage.openAtStart > 0) {
    const words = "pods are not held before they are known: set `podInterfaces` or `podCIDRs` in AgentConfig";
    rows.push(["OPEN", `${coverage.openAtStart} ${words}`]);
  }
  if (bare > shown.length) rows.push(["not held", `${bare - shown.length} more`]);
  return rows;
}

const INSTEAD = {
  "last-good": "what it said before is in force",
  strictest: "what of it is understood is in force, and opens nothing",
  nothing: "left out",
} as const;

function decisions({ decisions, denials }: StatusReport): string {
  if (decisions.length === 0) return "";
  const shown = decisions.slice(0, SHOWN_DECISIONS);
  const rows = shown.map(({ policy, kind, action, count }) => [policy ?? "(no rule)", kind, action, String(count)]);
  const why = Object.entries(denials).sort(([, a], [, b]) => b - a);
  const reasons = why.map(([reason, count]) => `${reason} ${count}`).join(", ");
  return `${table([["policy", "kind", "action", "decisions"], ...rows])}${reasons === "" ? "" : `denied for: ${printable(reasons)}\n`}`;
}

function problems({ problems }: StatusReport): string {
  if (problems.length === 0) return "";
  const lines = problems.slice(-SHOWN_PROBLEMS).map(({ time, level, event, message, times: count }) => {
    const many = count > 1 ? ` (${count} times)` : "";
    return `  ${time} ${paint(level === "error" ? "deny" : "warn", level)} ${printable(`${event}: ${message}`)}${many}\n`;
  });
  return `last problems:\n${lines.join("")}`;
}

function floodsText(floods: readonly (readonly [string, number])[]): string {
  const shown = floods.slice(0, SHOWN_FLOODS).map(([workload, packets]) => `${workload} ${packets}`);
  const more = floods.length > SHOWN_FLOODS ? `, ${floods.length - SHOWN_FLOODS} more` : "";
  return `packets dropped beyond the rate: ${shown.join(", ")}${more}`;
}

function rulesWord(inPlace: boolean | null): string {
  if (inPlace === null) return "not checked";
  return inPlace ? "in place" : "NOT IN PLACE";
}

function dropped(counters: Readonly<Record<string, number>>): string {
  const some = Object.entries(counters).filter(([, packets]) => packets > 0);
  return some.length === 0 ? "" : `; dropped or rejected: ${some.map(([name, n]) => `${name} ${n}`).join(", ")}`;
}

function log({ written, lost, pendingBytes, ...more }: StatusReport["records"]): string {
  const { endingsLost, endingsFound, carried } = more;
  const ends = endingsLost > 0 ? `, ends missed ${times(endingsLost)} (${endingsFound} flows found ended)` : "";
  const opened = `; ${carried} flows opened by the kernel`;
  if (written === null) return `no flow log${ends}${opened}`;
  return `flow log ${written} written, ${lost} lost, ${pendingBytes} bytes wait${ends}${opened}`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

function milliseconds(seconds: number | null): string {
  if (seconds === null) return "-";
  const value = seconds * 1000;
  return value < 1 ? `${Math.round(value * 1000)} µs` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
