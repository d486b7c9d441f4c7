/** What was measured in a large cluster, as JSON and as a table beside the limits that the project sets itself. */
import { type Summary, spread } from "../statistics.ts";
import { number, table } from "../table.ts";
import type { ClusterSize } from "./objects.ts";
import type { Filled } from "./stage.ts";

/** Memory in MiB, processor time in seconds. */
export interface ClusterReport {
  readonly date: string;
  readonly machine: string;
  readonly size: ClusterSize;
  readonly filled: readonly Filled[];
  readonly apiServer: { readonly rest: number; readonly peak: number };
  readonly agent: {
    /** Milliseconds from starting the process to its `ready`, without anything remembered. */
    readonly ready: Summary;
    /** Milliseconds from sending the request to the first flow with the new outcome. */
    readonly change: Summary & { readonly p99: number };
    readonly memory: {
      readonly rest: number;
      /** At the end of changes without traffic, and the most until then. */
      readonly afterChanges: number;
      readonly peak: number;
      /** At the end of the changes that are timed, with a thousand new flows a second beside them, and the most until then. */
      readonly withFlows: number;
      readonly peakWithFlows: number;
      /** The process that watches over the agent. */
      readonly supervisor: number;
    };
    readonly idle: { readonly seconds: number; readonly requests: number; readonly bytes: number } | null;
    /** Pods of other nodes that came and went, and what the agent was told meanwhile. */
    readonly foreign: { readonly pods: number; readonly seconds: number; readonly bytes: number } | null;
  };
  /** Null, as others: not measured. */
  readonly controller: {
    /** Seconds to have read everything, and to have written every status. */
    readonly synced: number;
    readonly settled: number;
    readonly writes: number;
    readonly rest: number;
    readonly peak: number;
    readonly processor: number;
  } | null;
  /** What so many agents cost the API server: memory, processor seconds a second while idle, and for each change and agent. */
  readonly watching: {
    readonly agents: number;
    readonly memory: number;
    readonly idle: number;
    readonly perEvent: number;
  } | null;
}

export function renderClusterReport(report: ClusterReport): string {
  const { agent, controller, apiServer, watching, size, filled } = report;
  const most = (what: string, value: number, limit: number, unit: string, aim?: number) => [
    what,
    `${number(value)} ${unit}`,
    `${limit} ${unit}`,
    aim === undefined ? "" : `${aim} ${unit}`,
    value <= limit ? "yes" : "**no**",
  ];
  const { idle, foreign } = agent;
  const limits = table(
    ["measure", "measured", "at most", "aim", "holds"],
    [
      most("agent, 110 pods, 200 policies of theirs", agent.memory.rest, 150, "MiB"),
      most("policy change to enforced, p99", agent.change.p99, 300, "ms", 50),
      most("cold start to enforced", agent.ready.median, 5000, "ms", 3000),
      ...(idle === null ? [] : [requestsOf(idle)]),
      ...(idle === null || foreign === null ? [] : [toldOf(foreign, idle)]),
      ...(controller === null ? [] : [most("controller", controller.rest, 1024, "MiB")]),
    ],
  );
  const more = table(
    ["besides", "measured"],
    [
      ["policy change to enforced, p50", `${number(agent.change.median)} ms`],
      [
        "cold start, least and most",
        `${number(agent.ready.least)}–${number(agent.ready.most)} ms (±${spread(agent.ready).toFixed(0)} %)`,
      ],
      ["agent after 40 changes; the most until then", mib(agent.memory.afterChanges, agent.memory.peak)],
      [
        "… at the end of the timed ones, 1,000 new flows a second beside them",
        mib(agent.memory.withFlows, agent.memory.peakWithFlows),
      ],
      ["the agent's supervisor", mib(agent.memory.supervisor)],
      ...(controller === null ? [] : controllerRows(controller)),
      ["API server at rest; the most there ever was", mib(apiServer.rest, apiServer.peak)],
      ...(watching === null ? [] : watchingRows(watching)),
      ...filled.map(({ what, count, seconds }) => [`writing ${what}`, `${number(count)} in ${seconds.toFixed(0)} s`]),
    ],
  );
  const shape = `${number(size.nodes)} nodes, ${number(size.pods)} pods, ${number(size.namespaces)} namespaces, 10,004 policies`;
  return `${shape}; ${report.machine}, ${report.date}\n\n${limits}\n\n${more}\n`;
}

function requestsOf({ requests, seconds }: NonNullable<ClusterReport["agent"]["idle"]>): string[] {
  const rate = requests / seconds;
  return ["API requests of an idle agent", `${rate.toFixed(3)}/s`, "0.05/s", "", rate <= 0.05 ? "yes" : "**no**"];
}

function toldOf(
  foreign: NonNullable<ClusterReport["agent"]["foreign"]>,
  idle: NonNullable<ClusterReport["agent"]["idle"]>,
): string[] {
  const bytes = foreign.bytes - (idle.bytes / idle.seconds) * foreign.seconds;
  return ["told of a pod of another node", `${number(Math.max(0, bytes / foreign.pods))} B`, "0 B", "", ""];
}

function controllerRows({ peak, synced, settled, writes }: NonNullable<ClusterReport["controller"]>): string[][] {
  return [
    ["controller, the most there ever was", mib(peak)],
    ["controller: everything read; every status written", `${synced.toFixed(1)} s; ${settled.toFixed(0)} s`],
    ["controller: statuses written", number(writes)],
  ];
}

function watchingRows({ agents, memory, idle, perEvent }: NonNullable<ClusterReport["watching"]>): string[][] {
  return [
    [
      `${agents} more agents that watch: memory of the API server, each`,
      `${((memory / agents) * 1024).toFixed(0)} KiB`,
    ],
    ["… its processor time while nothing happens, each", `${((idle / agents) * 1e6).toFixed(0)} µs a second`],
    ["… its processor time to tell one agent of one change", `${(perEvent * 1e6).toFixed(0)} µs`],
  ];
}

function mib(...values: readonly number[]): string {
  return `${values.map((value) => number(value)).join("; ")} MiB`;
}
