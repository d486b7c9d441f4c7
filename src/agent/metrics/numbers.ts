import { readFileSync } from "node:fs";
import { type ConntrackStatistics, parseConntrackStatistics } from "../../kernel/conntrack-statistics.ts";
import { parseQueueStatistics, type QueueStatistics } from "../../kernel/queue-statistics.ts";
import { ASIDE_COUNTER, CARRIED_COUNTER, type QueueMethod, queuesOf } from "../../kernel/ruleset.ts";
import { TOLD_COUNTER } from "../../kernel/ruleset-told.ts";
import type { Generation } from "../../model/verdict.ts";
import type { Program } from "../../program/program.ts";
import type { ClusterReport } from "../cluster/report.ts";
import type { EndingNews } from "../ending-news.ts";
import type { Floods } from "../floods.ts";
import type { FlowLog } from "../flow-log.ts";
import type { Journal } from "../journal/journal.ts";
import type { LaneHandle } from "../lane-handle.ts";
import { PULSE } from "../lane-messages.ts";
import type { OpenFlows } from "../open-flows.ts";
import type { Resolver } from "../resolver.ts";
import type { RulesetKeeper } from "../ruleset-keeper.ts";
import type { Epoch } from "../state.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { LaneNumbers } from "./lane-pulse.ts";

/** The parts of an agent that count something. */
export interface AgentParts {
  readonly epoch: Epoch;
  readonly method: QueueMethod;
  readonly generation: Generation;
  readonly counts: AgentCounts;
  readonly lane: LaneHandle;
  readonly laneNumbers: LaneNumbers;
  readonly keeper: RulesetKeeper;
  readonly floods: Floods;
  readonly resolver: Resolver;
  readonly open: OpenFlows;
  readonly endings: Pick<EndingNews, "found" | "vanished" | "listen" | "settle" | "lost">;
  readonly flowLog: FlowLog;
  readonly journal: Pick<Journal, "counters">;
  /** Null: the inputs come from files. */
  readonly cluster: ClusterReport | null;
}

export const QUEUES = ["strict", "observed"] as const;

export interface QueueReading {
  /** `strict`: isolated and not yet known workloads. `observed`: the others. */
  readonly queue: (typeof QUEUES)[number];
  readonly number: number;
  /** Null: nobody listens. */
  readonly statistics: QueueStatistics | null;
}

export interface WorkloadNumbers {
  readonly total: number;
  readonly isolated: number;
  /** Selected by an enforcing policy that denies by rule only. */
  readonly restricted: number;
  /** Not selected by any enforcing policy: never denied. */
  readonly observed: number;
}

/** What had to be asked of the kernel, at one moment. */
export interface KernelNumbers {
  /** Null: could not be found out in time. */
  readonly rulesInPlace: boolean | null;
  readonly queues: readonly QueueReading[];
  /** Packets that the rules refused, by named counter of the table; they begin anew when the table is installed. */
  readonly rules: ReadonlyMap<string, number>;
  /** Packets dropped for a flood, by workload (`namespace/name`), since the agent began. */
  readonly floods: ReadonlyMap<string, number>;
  /** Flows that the kernel opened by itself, since then. */
  readonly carried: number;
  /** SYNs that went on unasked, since then. */
  readonly told: number;
  /** Null: the kernel does not say. */
  readonly conntrack: ConntrackStatistics | null;
}

/** Everything there is to tell about an agent at one moment; metrics, readiness and status are made from it. */
export interface AgentNumbers extends AgentParts {
  readonly kernel: KernelNumbers;
  readonly workloads: WorkloadNumbers;
}

const KERNEL_LIMIT_MS = 2_000;
/** Listing the counters starts a program: whoever asks more often gets the same answer. */
const RULE_COUNTERS_FOR_MS = 1_000;

/** Counters of the table that count what passed. */
const PASSED: ReadonlySet<string> = new Set([CARRIED_COUNTER, TOLD_COUNTER, ASIDE_COUNTER]);

/** Gathers the numbers of an agent. Who asks while it gathers gets what it finds: many askers cost no more than one. */
export class Gatherer {
  readonly #parts: () => AgentParts;
  #gathering: Promise<AgentNumbers> | null = null;
  #rules: ReadonlyMap<string, number> = new Map();
  #floods: ReadonlyMap<string, number> = new Map();
  #carried = 0;
  #told = 0;
  #rulesUntil = 0;
  #workloads: { readonly program: Program; readonly numbers: WorkloadNumbers } | null = null;

  constructor(parts: () => AgentParts) {
    this.#parts = parts;
  }

  /** What costs nothing to know. */
  get parts(): AgentParts {
    return this.#parts();
  }

  /** Never rejects. */
  gather(): Promise<AgentNumbers> {
    this.#gathering ??= this.#gather().finally(() => {
      this.#gathering = null;
    });
    return this.#gathering;
  }

  async #gather(): Promise<AgentNumbers> {
    const { keeper, counts, floods } = this.#parts();
    // Before and after it is not watched over, and its socket may be gone.
    const watched = counts.phase === "enforcing";
    const rulesInPlace = watched ? await within(KERNEL_LIMIT_MS, keeper.inPlace()) : null;
    if (watched && performance.now() >= this.#rulesUntil) {
      const counters = (await within(KERNEL_LIMIT_MS, keeper.counters())) ?? new Map<string, number>();
      this.#carried = counters.get(CARRIED_COUNTER) ?? 0;
      this.#told = counters.get(TOLD_COUNTER) ?? 0;
      this.#rules = new Map([...counters].filter(([name]) => !PASSED.has(name)));
      this.#floods = (await within(KERNEL_LIMIT_MS, floods.dropped())) ?? this.#floods;
      this.#rulesUntil = performance.now() + RULE_COUNTERS_FOR_MS;
    }
    const parts = this.#parts();
    const queues = readQueues(
      queuesOf(parts.epoch.inputs.config.queueNumber, parts.generation).strict,
      laneNumber(parts, "ballast"),
    );
    return {
      ...parts,
      kernel: {
        rulesInPlace,
        queues,
        rules: this.#rules,
        carried: this.#carried,
        told: this.#told,
        floods: this.#floods,
        conntrack: readConntrack(),
      },
      workloads: this.#countWorkloads(parts.epoch),
    };
  }

  #countWorkloads({ program, inputs }: Epoch): WorkloadNumbers {
    if (this.#workloads?.program === program) return this.#workloads.numbers;
    let isolated = 0;
    let restricted = 0;
    for (const { id } of inputs.workloads) {
      const cls = program.classOf(id);
      if (program.isolated(cls)) isolated++;
      else if (program.selected(cls)) restricted++;
    }
    const total = inputs.workloads.length;
    const numbers = { total, isolated, restricted, observed: total - isolated - restricted };
    this.#workloads = { program, numbers };
    return numbers;
  }
}

/** Null where the answer does not come in time, or not at all. */
async function within<T>(limitMs: number, work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), limitMs);
  });
  try {
    return await Promise.race([work.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Of the namespace that this thread is in. `ballast`: packets of the strict queue that wait for no verdict. */
function readQueues(first: number, ballast: number): QueueReading[] {
  let text = "";
  try {
    text = readFileSync("/proc/thread-self/net/netfilter/nfnetlink_queue", "latin1");
  } catch {}
  return QUEUES.map((queue, i) => {
    const read = parseQueueStatistics(text, first + i);
    const waiting = Math.max(0, (read?.waiting ?? 0) - (queue === "strict" ? ballast : 0));
    return { queue, number: first + i, statistics: read === null ? null : { ...read, waiting } };
  });
}

/** Of the namespace that this thread is in. */
function readConntrack(): ConntrackStatistics | null {
  try {
    const [count = "", limit = "", stat = ""] = [
      "/proc/sys/net/netfilter/nf_conntrack_count",
      "/proc/sys/net/netfilter/nf_conntrack_max",
      "/proc/thread-self/net/stat/nf_conntrack",
    ].map((path) => readFileSync(path, "latin1"));
    return parseConntrackStatistics(count, limit, stat);
  } catch {
    return null;
  }
}

/** A number of the lane's pulse. */
export function laneNumber(numbers: Pick<AgentParts, "laneNumbers">, slot: keyof typeof PULSE): number {
  return numbers.laneNumbers.read(PULSE[slot]);
}
