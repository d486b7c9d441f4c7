import type { FlowEvent, FlowTuple } from "../flow/event.ts";
import { LiveFlows } from "../flow/live-flows.ts";
import { Conntrack, enableAccounting } from "../kernel/conntrack.ts";
import { type MarkLayout, markLayout, stateOf } from "../kernel/marks.ts";
import type { QueueMethod } from "../kernel/ruleset.ts";
import type { Decision } from "../model/decision.ts";
import { STATE } from "../model/verdict.ts";
import { FlowEnder } from "./endings.ts";
import { EndingsReader } from "./endings-reader.ts";
import type { EndingsMessage, FlowEnding } from "./events-worker.ts";
import { settleExistingFlows } from "./existing-flows.ts";
import type { FlowLog } from "./flow-log.ts";
import { Injector } from "./injector.ts";
import { LaneHandle, type LaneListener } from "./lane-handle.ts";
import type { FromLane } from "./lane-messages.ts";
import { type Logger, RateLimit } from "./log.ts";
import { Resolver } from "./resolver.ts";
import { RulesetKeeper } from "./ruleset-keeper.ts";
import { compileEpoch, type Epoch, type Inputs, redecide } from "./state.ts";

/** Where the bundled or source workers lie. */
export interface WorkerFiles {
  readonly lane: URL;
  readonly endings: URL;
}

const LIVE_FLOWS = { total: 1_000_000, perWorkload: 65_536 };
const IN_USE_EVERY_MS = 5 * 60_000;
const ADOPT_LIMIT_MS = 2_000;

/**
 * The life of the agent: starts enforcement so that nothing is ever open on the way, applies changes, ends flows that
 * are no longer allowed, and stops without taking the ruleset away (a fail-closed node stays closed).
 */
export class Agent implements LaneListener {
  readonly #log: Logger;
  readonly #flowLog: FlowLog;
  readonly #live = new LiveFlows(LIVE_FLOWS);
  readonly #conntrack = new Conntrack();
  readonly #marks: MarkLayout;
  readonly #injector: Injector;
  readonly #ender: FlowEnder;
  readonly #keeper: RulesetKeeper;
  readonly #resolver: Resolver;
  readonly #lane: LaneHandle;
  readonly #endings: EndingsReader;
  readonly #method: QueueMethod;
  readonly #fullTables = new RateLimit(10_000);
  readonly #adopted = new Map<number, () => void>();
  #epoch: Epoch;
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #overruns = 0;

  constructor(inputs: Inputs, method: QueueMethod, files: WorkerFiles, flowLog: FlowLog, log: Logger) {
    this.#log = log;
    this.#flowLog = flowLog;
    this.#method = method;
    this.#epoch = compileEpoch(1, inputs);
    const { config } = inputs;
    this.#marks = markLayout(config.markMask);
    this.#injector = new Injector(this.#marks);
    this.#ender = new FlowEnder(this.#conntrack, this.#injector, this.#marks);
    this.#keeper = new RulesetKeeper(method, log);
    this.#resolver = new Resolver(config.agentResolvers);
    const { data } = this.#epoch.program;
    const adopting = config.existingFlows === "Adopt";
    this.#lane = new LaneHandle(files.lane, { program: data, config, adopting, run: flowLog.run }, this, log);
    this.#endings = new EndingsReader(files.endings, (message) => this.#onEndings(message));
  }

  /**
   * Listener first, then the rules that ask it, then what was open before: at each step the kernel lets through no more than
   * at the one before.
   */
  async start(): Promise<void> {
    const missing = enableAccounting();
    if (missing.length > 0)
      this.#log.warn({ event: "accounting", missing }, "flow records carry no sizes: `sysctl` refuses these");
    const { inputs, program } = this.#epoch;
    this.#flowLog.setWorkloads(inputs.workloads);
    await this.#endings.start();
    await this.#lane.start();
    await this.#keeper.install(inputs.config, program, inputs.workloads);
    const settled = settleExistingFlows(this.#conntrack, program, this.#marks, inputs.config.existingFlows);
    for (const { flow, workloadId, facts, decision } of settled.kept) {
      this.#live.opened(existingEvent(flow, workloadId, facts, decision));
    }
    for (const { flow } of settled.ended) this.#ender.end(flow);
    this.#lane.send({ kind: "adopted" });
    this.#timer = setInterval(() => this.#sayInUse(), IN_USE_EVERY_MS);
    this.#log.info({
      event: "ready",
      epoch: program.epoch,
      queue: this.#method,
      policies: inputs.policies.length,
      workloads: inputs.workloads.length,
      kept: settled.kept.length,
      ended: settled.ended.length,
      inbound: settled.inbound,
    });
  }

  /** Makes `inputs` what is enforced; one change at a time. */
  apply(inputs: Inputs): Promise<void> {
    const next = this.#turn.catch(() => undefined).then(() => this.#apply(inputs));
    this.#turn = next;
    return next;
  }

  /** Stops deciding. The ruleset stays, so that the node is as closed as it was, unless it is to fail open. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#turn.catch(() => undefined);
    if (this.#epoch.inputs.config.failMode === "Open") await this.#keeper.remove();
    else await this.#keeper.release();
    await this.#lane.stop();
    await this.#endings.stop();
    await this.#flowLog.close();
    this.#injector.close();
    this.#conntrack.close();
  }

  onEvent(event: FlowEvent): void {
    if (this.#live.opened(event) === "full") {
      const suppressed = this.#fullTables.allow(performance.now());
      if (suppressed !== null)
        this.#log.warn(
          { event: "live-flows-full", suppressed },
          "too many open flows to follow: new ones are not decided again when policies change",
        );
    }
    this.#flowLog.event(event);
  }

  onLost(count: number): void {
    this.#flowLog.lost(count);
    this.#log.warn({ event: "records-lost", count }, "flow records were lost: the ring was full");
  }

  onMessage(message: FromLane): void {
    switch (message.kind) {
      case "resolve":
        return void this.#resolve(message.request.id, message.request.names);
      case "end":
        this.#ender.end(message.flow);
        return;
      case "adopted":
        this.#adopted.get(message.epoch)?.();
        return;
      case "trouble":
        this.#log.error({ event: "lane-trouble", suppressed: message.suppressed }, message.message);
    }
  }

  onReplaced(reason: string): void {
    this.#log.warn({ event: "lane-started", reason }, "a new packet lane gives verdicts; undecided flows start anew");
  }

  async #apply(inputs: Inputs): Promise<void> {
    const started = performance.now();
    const before = this.#epoch.inputs.config;
    const epoch = compileEpoch(this.#epoch.program.epoch + 1, keepFixed(inputs, before, this.#log));
    const { program } = epoch;
    const { config, workloads } = epoch.inputs;
    this.#epoch = epoch;
    this.#flowLog.setWorkloads(workloads);
    if (config.agentResolvers !== before.agentResolvers) this.#resolver.setServers(config.agentResolvers);
    await this.#adopt(epoch);
    const ended = this.#live.redecide((flow) => redecide(program, flow));
    for (const { flow, decision } of ended) {
      this.#ender.end(flow.tuple);
      this.#flowLog.event({
        ...existingEvent(flow.tuple, flow.workloadId, null, decision),
        flowId: flow.flowId,
        time: Date.now(),
        application: flow.application,
        name: flow.name,
        state: "rejected",
      });
    }
    if (config.failMode === before.failMode) await this.#keeper.update(config, program, workloads);
    else await this.#keeper.install(config, program, workloads);
    const milliseconds = Math.round(performance.now() - started);
    this.#log.info({
      event: "applied",
      epoch: program.epoch,
      policies: inputs.policies.length,
      workloads: workloads.length,
      ended: ended.length,
      milliseconds,
    });
  }

  /** The lane takes the new epoch between two batches; open flows are decided after that, so that no flow falls between the two. */
  async #adopt(epoch: Epoch): Promise<void> {
    const number = epoch.program.epoch;
    const adopted = new Promise<void>((resolve) => this.#adopted.set(number, resolve));
    this.#lane.setProgram(epoch.program.data, epoch.inputs.config);
    await Promise.race([adopted, new Promise((resolve) => setTimeout(resolve, ADOPT_LIMIT_MS).unref())]);
    this.#adopted.delete(number);
    // What the lane decided with the old epoch is in the ring: it has to be among the flows that are decided anew.
    this.#lane.readRecords();
  }

  async #resolve(requestId: number, names: readonly string[]): Promise<void> {
    const answers = await Promise.all(names.map((name) => this.#resolver.resolve(name)));
    this.#lane.send({ kind: "resolved", requestId, answers });
  }

  #onEndings({ endings, overruns }: EndingsMessage): void {
    const followed: FlowTuple[] = [];
    for (const ending of endings) {
      const state = stateOf(this.#marks, ending.mark);
      if (state === STATE.looking || state === STATE.http) followed.push(ending.flow);
      this.#ended(ending, state);
    }
    if (followed.length > 0) this.#lane.send({ kind: "ended", flows: followed });
    if (overruns > this.#overruns) {
      this.#overruns = overruns;
      this.#log.warn({ event: "endings-lost", overruns }, "ends of flows were lost: their records are missing");
    }
  }

  #ended(ending: FlowEnding, state: number): void {
    const flow = this.#live.closed(ending.flow);
    if (flow === null) return;
    const closedBy = state === STATE.rejected ? "policy" : "conntrack";
    this.#flowLog.ended(flow, ending, Date.now(), closedBy);
  }

  #sayInUse(): void {
    const bindings = [];
    for (const { workloadId, tuple } of this.#live.all()) bindings.push({ workloadId, address: tuple.server });
    this.#lane.send({ kind: "inUse", bindings });
  }
}

/** Marks and queues are set up once; a change of them needs a new agent. */
function keepFixed(inputs: Inputs, before: Inputs["config"], log: Logger): Inputs {
  const { config } = inputs;
  if (config.markMask === before.markMask && config.queueNumber === before.queueNumber) return inputs;
  log.warn(
    { event: "needs-restart" },
    "`markMask` and `queueNumber` change when the agent is started anew; the old ones stay for now",
  );
  return { ...inputs, config: { ...config, markMask: before.markMask, queueNumber: before.queueNumber } };
}

/** A flow that was there before this agent, as if it had just been decided. Id 0: no record of its beginning exists. */
function existingEvent(tuple: FlowTuple, workloadId: number, facts: FlowEvent["facts"], decision: Decision): FlowEvent {
  return {
    kind: "flow",
    flowId: 0,
    time: Date.now(),
    workloadId,
    tuple,
    application: "Unknown",
    name: null,
    method: null,
    path: null,
    decision,
    audit: null,
    facts,
    state: "allowed",
  };
}
