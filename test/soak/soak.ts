import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LOOP_PRECISION_MS } from "../../src/agent/metrics/exposition.ts";
import { slope } from "./figures.ts";
import { NAMES, RESPONDER, SoakWorld } from "./soak-world.ts";

const ROUND_SECONDS = 5;
const NAME_COUNT = 10_000;
const POLICY_EVERY_MS = 3_000;
const PASSER_EVERY_MS = 1_500;
const DRAIN_MS = 15_000;
/** Part of the time in which caches fill and the heap finds its size. */
const WARM_UP = 1 / 3;
const MIB = 1024 * 1024;

export interface SoakOptions {
  readonly seconds: number;
  /** The load ends earlier when it has made so many connections. */
  readonly connections: number;
  readonly sampleEveryMs: number;
  /** How the agent is run: program and first arguments. */
  readonly command: readonly string[];
  readonly name: string;
  readonly say?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** The agent at one moment. */
export interface SoakSample {
  readonly seconds: number;
  readonly connections: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
  readonly externalMiB: number;
  readonly descriptors: number;
  readonly liveFlows: number;
  readonly laneFlows: number;
  readonly bindings: number;
  readonly conntrack: number;
  readonly epoch: number;
  /** Of the main thread since the sample before: the longest that others had to wait for their turn. */
  readonly longestTurnMs: number;
}

export interface SoakFigures {
  readonly samples: readonly SoakSample[];
  /** After the load has gone and flows had time to end. */
  readonly drained: SoakSample;
  readonly connections: number;
  readonly failed: number;
  readonly names: number;
  readonly passers: { readonly ok: number; readonly all: number };
  /** After the warm-up. */
  readonly rssSlopeMiBPerMinute: number;
  readonly rssGrowthMiB: number;
  readonly descriptorGrowth: number;
  readonly lost: { readonly ring: number; readonly log: number; readonly endings: number; readonly packets: number };
  readonly restarts: number;
}

/** Connections, names, pods and policies come and go for so long, while the agent's memory is watched. Brings up its own lab and takes it down. */
export async function soak(options: SoakOptions): Promise<SoakFigures> {
  const world = await SoakWorld.up(options.name, options.command);
  try {
    return await new Soak(world, options).run();
  } finally {
    await world.down();
  }
}

class Soak {
  readonly #world: SoakWorld;
  readonly #options: SoakOptions;
  readonly #begun = performance.now();
  readonly #samples: SoakSample[] = [];
  readonly #passers = { ok: 0, all: 0 };
  #connections = 0;
  #failed = 0;
  #over = false;

  constructor(world: SoakWorld, options: SoakOptions) {
    this.#world = world;
    this.#options = options;
  }

  async run(): Promise<SoakFigures> {
    const names = this.#names();
    const work = [this.#connect("name"), this.#connect("address"), this.#passing(), this.#changing(), this.#sampling()];
    try {
      await Promise.all(work);
    } finally {
      this.#over = true;
    }
    const answered = await names();
    await pause(DRAIN_MS);
    const drained = await this.#sample();
    const metrics = await this.#world.metrics();
    const warm = this.#samples.filter(({ seconds }) => seconds > this.#options.seconds * WARM_UP);
    const perSecond = slope(warm.map(({ seconds, rssMiB }) => ({ x: seconds, y: rssMiB })));
    const span = (warm.at(-1)?.seconds ?? 0) - (warm[0]?.seconds ?? 0);
    return {
      samples: this.#samples,
      drained,
      connections: this.#connections,
      failed: this.#failed,
      names: answered,
      passers: this.#passers,
      rssSlopeMiBPerMinute: perSecond * 60,
      rssGrowthMiB: perSecond * span,
      descriptorGrowth: drained.descriptors - (warm[0]?.descriptors ?? 0),
      lost: {
        ring: metrics.of("records_lost_total", { where: "ring" }),
        log: metrics.of("records_lost_total", { where: "log" }),
        endings: metrics.of("endings_lost_total"),
        packets: metrics.of("queue_dropped_packets_total"),
      },
      restarts: metrics.of("lane_restarts_total"),
    };
  }

  get #busy(): boolean {
    const { seconds, connections, signal } = this.#options;
    signal?.throwIfAborted();
    return !this.#over && this.#connections < connections && performance.now() - this.#begun < seconds * 1000;
  }

  async #connect(kind: "name" | "address"): Promise<void> {
    while (this.#busy) {
      const left = this.#options.connections - this.#connections;
      const { done, failed } = await this.#world.connections(kind, ROUND_SECONDS, Math.ceil(left / 2) + 1);
      this.#connections += done;
      this.#failed += failed;
    }
  }

  async #passing(): Promise<void> {
    for (let round = 0; this.#busy; round++) {
      this.#passers.all++;
      if (await this.#world.passer(round)) this.#passers.ok++;
      await pause(PASSER_EVERY_MS);
    }
  }

  async #changing(): Promise<void> {
    for (let round = 1; this.#busy; round++) {
      this.#world.changePolicy(round);
      await pause(POLICY_EVERY_MS);
    }
  }

  async #sampling(): Promise<void> {
    this.#options.say?.(HEAD);
    for (let at = 1; this.#busy; at++) {
      await pause(this.#begun + at * this.#options.sampleEveryMs - performance.now());
      const sample = await this.#sample();
      this.#samples.push(sample);
      this.#options.say?.(line(sample));
    }
  }

  async #sample(): Promise<SoakSample> {
    const { pid } = this.#world;
    const metrics = await this.#world.metrics();
    const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0;
    return {
      seconds: Math.round((performance.now() - this.#begun) / 1000),
      connections: this.#connections,
      rssMiB: Number(rss) / 1024,
      heapMiB: metrics.node("nodejs_heap_size_used_bytes") / MIB,
      externalMiB: metrics.node("nodejs_external_memory_bytes") / MIB,
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      liveFlows: metrics.of("live_flows"),
      laneFlows: metrics.of("lane_flows"),
      bindings: metrics.of("bindings"),
      conntrack: metrics.of("conntrack_entries"),
      epoch: metrics.of("epoch"),
      longestTurnMs: Math.max(0, metrics.node("nodejs_eventloop_lag_max_seconds") * 1000 - LOOP_PRECISION_MS),
    };
  }

  /** Answers how many names were answered, once it is told to stop. */
  #names(): () => Promise<number> {
    const argv = [process.execPath, join(import.meta.dirname, "names.ts"), RESPONDER, String(NAME_COUNT)];
    const child = this.#world.lab.spawn(NAMES, argv, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout?.on("data", (text) => {
      said += text;
    });
    return async () => {
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGTERM");
      await ended;
      return (JSON.parse(said) as { answered: number }).answered;
    };
  }
}

const HEAD =
  "    s  connections   RSS MiB  heap  external  fds  live flows  lane flows  bindings  conntrack  epoch  turn ms";

function line(of: SoakSample): string {
  const cell = (value: number, width: number, digits = 0) => value.toFixed(digits).padStart(width);
  return [
    cell(of.seconds, 5) + cell(of.connections, 13) + cell(of.rssMiB, 10, 1) + cell(of.heapMiB, 6, 1),
    cell(of.externalMiB, 10, 1) + cell(of.descriptors, 5) + cell(of.liveFlows, 12) + cell(of.laneFlows, 12),
    cell(of.bindings, 10) + cell(of.conntrack, 11) + cell(of.epoch, 7) + cell(of.longestTurnMs, 9),
  ].join("");
}

/** What the samples come to. */
export function soakText(of: SoakFigures): string {
  return [
    `${line(of.drained)}  (drained)`,
    `connections   ${of.connections} made, ${of.failed} failed; ${of.names} names answered; ${of.passers.ok} of ${of.passers.all} pods with reused addresses got through`,
    `memory        RSS ${of.rssSlopeMiBPerMinute.toFixed(2)} MiB a minute after warm-up, ${of.rssGrowthMiB.toFixed(1)} MiB in all; descriptors ${of.descriptorGrowth >= 0 ? "+" : ""}${of.descriptorGrowth}`,
    `main thread   longest turn ${Math.max(...of.samples.map(({ longestTurnMs }) => longestTurnMs)).toFixed(0)} ms`,
    `lost          ${of.lost.ring} records on their way, ${of.lost.log} for the disk, ${of.lost.endings} times endings, ${of.lost.packets} packets dropped by a full queue; ${of.restarts} lanes replaced`,
    "",
  ].join("\n");
}

/** What grows that should not, one line each; none: all is flat. `rssMiB`: growth after the warm-up that is still noise. */
export function whatGrows(of: SoakFigures, rssMiB: number): string[] {
  const { drained } = of;
  return [
    ...(of.rssGrowthMiB > rssMiB ? [`RSS grew by ${of.rssGrowthMiB.toFixed(1)} MiB after the warm-up`] : []),
    ...(of.descriptorGrowth > 8 ? [`${of.descriptorGrowth} descriptors more than after the warm-up`] : []),
    ...(drained.liveFlows > 500 ? [`${drained.liveFlows} live flows are left of none`] : []),
    ...(drained.laneFlows > 500 ? [`the lane still reads ${drained.laneFlows} flows of none`] : []),
    ...(drained.conntrack > 1_500 ? [`${drained.conntrack} conntrack entries are left of none`] : []),
  ];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
