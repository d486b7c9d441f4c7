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
      readonly afterChanges: number;
      readonly peak: number;
      /** The process that watches over the agent. */
      readonly supervisor: number;
    };
    readonly idle: { readonly seconds: number; readonly requests: number; readonly bytes: number };
    /** Pods of other nodes that came and went, and what the agent was told meanwhile. */
    readonly foreign: { readonly pods: number; readonly seconds: number; readonly bytes: number };
  };
  readonly controller: {
    /** Seconds to have read everything, and to have written every status. */
    readonly synced: number;
    readonly settled: number;
    readonly writes: number;
    readonly rest: number;
    readonly peak: number;
    readonly processor: number;
  };
  /** What so many agents cost the API server: memory, processor seconds a second while idle, and for each change and agent. */
  readonly watching: {
    readonly agents: number;
    readonly memory: number;
    readonly idle: number;
    readonly perEvent: number;
  };
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
  const rate = agent.idle.requests / agent.idle.seconds;
  const foreign = agent.foreign.bytes - (agent.idle.bytes / agent.idle.seconds) * agent.foreign.seconds;
  const limits = table(
    ["measure", "measured", "at most", "aim", "holds"],
    [
      most("agent, 110 pods, 200 policies of theirs", agent.memory.rest, 150, "MiB"),
      most("policy change to enforced, p99", agent.change.p99, 300, "ms", 50),
      most("cold start to enforced", agent.ready.median, 5000, "ms", 3000),
      ["API requests of an idle agent", `${rate.toFixed(3)}/s`, "0.05/s", "", rate <= 0.05 ? "yes" : "**no**"],
      ["told of a pod of another node", `${number(Math.max(0, foreign / agent.foreign.pods))} B`, "0 B", "", ""],
      most("controller", controller.rest, 1024, "MiB"),
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
      ["agent after the changes; the most there ever was", mib(agent.memory.afterChanges, agent.memory.peak)],
      ["the agent's supervisor", mib(agent.memory.supervisor)],
      ["controller, the most there ever was", mib(controller.peak)],
      [
        "controller: everything read; every status written",
        `${controller.synced.toFixed(1)} s; ${controller.settled.toFixed(0)} s`,
      ],
      ["controller: statuses written", number(controller.writes)],
      ["API server at rest; the most there ever was", mib(apiServer.rest, apiServer.peak)],
      [
        `${watching.agents} more agents that watch: memory of the API server, each`,
        `${((watching.memory / watching.agents) * 1024).toFixed(0)} KiB`,
      ],
      [
        "… its processor time while nothing happens, each",
        `${((watching.idle / watching.agents) * 1e6).toFixed(0)} µs a second`,
      ],
      ["… its processor time to tell one agent of one change", `${(watching.perEvent * 1e6).toFixed(0)} µs`],
      ...filled.map(({ what, count, seconds }) => [`writing ${what}`, `${number(count)} in ${seconds.toFixed(0)} s`]),
    ],
  );
  const shape = `${number(size.nodes)} nodes, ${number(size.pods)} pods, ${number(size.namespaces)} namespaces, 10,004 policies`;
  return `${shape}; ${report.machine}, ${report.date}\n\n${limits}\n\n${more}\n`;
}

function mib(...values: readonly number[]): string {
  return `${values.map((value) => number(value)).join("; ")} MiB`;
}
