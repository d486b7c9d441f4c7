import type { FlowEvent } from "../flow/event.ts";
import { Conntrack, enableAccounting } from "../kernel/conntrack.ts";
import { forgetMarks } from "../kernel/conntrack-forget.ts";
import { type MarkLayout, markLayout } from "../kernel/marks.ts";
import type { QueueMethod } from "../kernel/ruleset.ts";
import type { Binding } from "../names/table.ts";
import { BindingsInUse } from "./bindings-in-use.ts";
import type { BootRules } from "./boot-rules.ts";
import { CrowdWatch } from "./crowd-watch.ts";
import { EndingNews } from "./ending-news.ts";
import { FlowEnder } from "./endings.ts";
import { countRecalled, type Recall, settleExistingFlows } from "./existing-flows.ts";
import { keepFixed, needsNewLane } from "./fixed-settings.ts";
import { Floods } from "./floods.ts";
import type { FlowLog } from "./flow-log.ts";
import { boundariesFile, tellHanded } from "./handed.ts";
import { type HostPods, laneHostPods } from "./host-network/host-pods.ts";
import { hostRules } from "./host-network/host-rules.ts";
import { Injector } from "./injector.ts";
import type { Journal } from "./journal/journal.ts";
import { LaneHandle, type LaneListener } from "./lane-handle.ts";
import { type FromLane, PULSE } from "./lane-messages.ts";
import type { Logger } from "./log.ts";
import { AgentCounts } from "./metrics/agent-counts.ts";
import { LaneNumbers } from "./metrics/lane-pulse.ts";
import type { AgentParts } from "./metrics/numbers.ts";
import { OpenFlows } from "./open-flows.ts";
import { Resolver } from "./resolver.ts";
import { RulesetKeeper } from "./ruleset-keeper.ts";
import { both } from "./side-by-side.ts";
import { compileEpoch, type Epoch, type Inputs, policyCount } from "./state.ts";
import type { Place } from "./succession/place.ts";
import { TakeOver } from "./succession/take-over.ts";

/** Where the bundled or source workers lie. */
export interface WorkerFiles {
  readonly lane: URL;
  readonly endings: URL;
}

const ADOPT_LIMIT_MS = 2_000;

/**
 * The life of the agent: starts enforcement so that nothing is ever open on the way, applies changes, ends flows that
 * are no longer allowed, and stops without taking the ruleset away (a fail-closed node stays closed).
 */
export class Agent implements LaneListener {
  readonly #log: Logger;
  readonly #flowLog: FlowLog;
  readonly #journal: Journal;
  readonly #open: OpenFlows;
  readonly #inUse: BindingsInUse;
  readonly #conntrack = new Conntrack();
  readonly #marks: MarkLayout;
  readonly #injector: Injector;
  readonly #keeper: RulesetKeeper;
  readonly #floods: Floods;
  readonly #crowd: CrowdWatch;
  readonly #resolver: Resolver;
  readonly #lane: LaneHandle;
  readonly #endings: EndingNews;
  readonly #method: QueueMethod;
  readonly #adopted = new Map<number, () => void>();
  #epoch: Epoch;
  #turn: Promise<void> = Promise.resolve();
  #next: Inputs | null = null;
  readonly #place: Place;
  readonly #takeOver: TakeOver;
  /** Another agent's ruleset is in place, or is about to be. */
  #retiring = false;
  readonly #counts: AgentCounts;
  readonly #laneNumbers: LaneNumbers;

  constructor(
    inputs: Inputs,
    method: QueueMethod,
    files: WorkerFiles,
    flowLog: FlowLog,
    journal: Journal,
    log: Logger,
    beatDescriptor: number,
    place: Place,
    bootRules: BootRules | null = null,
    hostPods: HostPods | null = null,
  ) {
    this.#place = place;
    this.#log = log;
    this.#flowLog = flowLog;
    this.#journal = journal;
    this.#method = method;
    this.#epoch = compileEpoch(1, inputs);
    this.#counts = new AgentCounts(inputs);
    const { config } = inputs;
    this.#marks = markLayout(config.markMask);
    this.#injector = new Injector(this.#marks);
    const ender = new FlowEnder(this.#conntrack, this.#injector, this.#marks);
    this.#open = new OpenFlows({ conntrack: this.#conntrack, ender, marks: this.#marks, flowLog, journal, log });
    const other = place.predecessor !== null;
    this.#keeper = new RulesetKeeper(method, place.generation, other, log, bootRules, hostRules(hostPods, log));
    this.#floods = new Floods(() => this.#keeper.dropped(), log);
    this.#crowd = new CrowdWatch(this.#conntrack, () => this.#epoch, this.#floods, log);
    this.#resolver = new Resolver(config.agentResolvers);
    this.#lane = new LaneHandle(
      files.lane,
      {
        program: this.#epoch.program.data,
        config,
        hostPods: laneHostPods(this.#epoch),
        generation: place.generation,
        former: place.predecessor !== null,
        adopting: config.existingFlows === "Adopt",
        run: flowLog.run,
        beatDescriptor,
        boundaries: boundariesFile(place),
      },
      this,
      log,
    );
    this.#inUse = new BindingsInUse(this.#open, this.#lane);
    this.#takeOver = new TakeOver(place, {
      keeper: this.#keeper,
      journal,
      lane: this.#lane,
      open: this.#open,
      program: () => this.#epoch.program,
      hostPodsFree: hostPods?.off === true,
      log,
    });
    this.#laneNumbers = new LaneNumbers(() => this.#lane.pulse);
    this.#endings = new EndingNews({
      file: files.endings,
      conntrack: this.#conntrack,
      open: this.#open,
      lane: this.#lane,
      counts: this.#counts,
      log,
    });
  }

  /** What counts in this agent, for metrics and status. */
  get parts(): Omit<AgentParts, "cluster"> {
    return {
      epoch: this.#epoch,
      method: this.#method,
      generation: this.#place.generation,
      counts: this.#counts,
      lane: this.#lane,
      laneNumbers: this.#laneNumbers,
      keeper: this.#keeper,
      floods: this.#floods,
      resolver: this.#resolver,
      open: this.#open,
      endings: this.#endings,
      flowLog: this.#flowLog,
      journal: this.#journal,
    };
  }

  /**
   * Listener first, then the rules that ask it: at each step the kernel lets through no more than at the one before. What was
   * open before is settled twice: before the rules, which would reset TCP that nobody decided, and after them, for what
   * was opened in between. @throws Error when it cannot enforce; what it had begun is undone, a table of before stays
   */
  async start(): Promise<void> {
    const missing = enableAccounting();
    if (missing.length > 0)
      this.#log.warn({ event: "accounting", missing }, "flow records carry no sizes: `sysctl` refuses these");
    const { inputs, program } = this.#epoch;
    const { config, workloads } = inputs;
    this.#flowLog.setWorkloads(workloads);
    this.#floods.setWorkloads(workloads);
    const memory = this.#journal.open(program, workloads, config.limits.bindings);
    const recall: Recall = (flow, start) => memory.recall(flow, start);
    const { ofNode } = this.#takeOver;
    try {
      await both(this.#endings.start(), this.#lane.start());
      const before = settleExistingFlows(this.#conntrack, program, this.#marks, config.existingFlows, recall, ofNode);
      tellHanded(this.#conntrack, this.#marks, this.#lane, this.#log);
      await this.#takeOver.begin();
      await this.#keeper.install(inputs, program);
      this.#takeOver.recall(memory);
      const settled = settleExistingFlows(this.#conntrack, program, this.#marks, config.existingFlows, recall, ofNode);
      this.#open.adopt(settled, before.ended);
      const remembered = settled.kept.filter((one) => one.memory !== null).length;
      this.#journal.start(this.#open.live);
      this.#takeOver.installed();
      this.#lane.send({ kind: "adopted" });
      this.#inUse.start();
      this.#crowd.start();
      this.#counts.started();
      this.#log.info({
        event: "ready",
        epoch: program.epoch,
        queue: this.#method,
        policies: policyCount(inputs).policies,
        workloads: workloads.length,
        kept: settled.kept.length,
        remembered,
        gone: memory.size - countRecalled(before, settled),
        ended: settled.ended.length,
        generation: this.#place.generation,
        inbound: before.inbound + settled.inbound,
      });
    } catch (error) {
      await this.#keeper.release().catch(() => undefined);
      await this.#close();
      throw error;
    }
  }

  /** Makes `inputs` what is enforced. One change at a time; of those that come meanwhile only the last one counts. */
  apply(inputs: Inputs): Promise<void> {
    const waiting = this.#next !== null;
    this.#next = inputs;
    if (waiting) return this.#turn;
    this.#turn = this.#turn
      .catch(() => undefined)
      .then(() => {
        const latest = this.#next as Inputs;
        this.#next = null;
        return this.#counts.apply(latest, () => this.#apply(latest));
      });
    return this.#turn;
  }

  /**
   * Stops deciding. The ruleset stays, so that the node is as closed as it was, unless it is to fail open, or `remove` says that nothing
   * is to stay behind: then nothing of it is left in the kernel. Where another agent enforces, all is that one's.
   */
  async stop(remove = false): Promise<void> {
    this.#counts.phase = "stopping";
    await this.#turn.catch(() => undefined);
    const forGood = remove && !this.#retiring;
    if (forGood || (this.#epoch.inputs.config.failMode === "Open" && !this.#retiring)) await this.#keeper.remove();
    else await this.#keeper.release();
    if (forGood) forgetMarks(this.#conntrack, this.#marks.mask);
    await this.#close();
  }

  async #close(): Promise<void> {
    this.#inUse.close();
    this.#takeOver.close();
    this.#floods.close();
    await this.#endings.rest();
    await this.#crowd.close();
    await this.#lane.stop();
    await this.#endings.stop();
    await this.#journal.close();
    await this.#flowLog.close();
    this.#injector.close();
    this.#conntrack.close();
  }

  /** Flows and packets that the lane has not let go of. */
  get following(): number {
    this.#lane.readRecords();
    return this.#lane.pulse[PULSE.flows]! + this.#lane.pulse[PULSE.waiting]!;
  }

  /** Another agent is about to put its ruleset in the place of this one's. The lane goes on, and follows every change. */
  async retire(): Promise<void> {
    this.#retiring = true;
    await this.#turn.catch(() => undefined);
    await this.#keeper.pause();
    this.#lane.readRecords();
    await this.#journal.flush();
  }

  /** It has, and knows what is open. */
  handOver(): void {
    this.#counts.phase = "stopping";
    this.#lane.readRecords();
    this.#open.handOver();
  }

  /** It has not, and is gone. */
  async resume(): Promise<void> {
    this.#retiring = false;
    await this.#keeper.resume();
    await this.#open.redecide(this.#epoch.program);
  }

  onEvent(event: FlowEvent): void {
    this.#counts.decisions.count(event);
    this.#open.onEvent(event);
  }

  get behind(): boolean {
    return this.#flowLog.behind;
  }

  /** Endings come behind records: a short flow may end before its decision was read from the ring. */
  onDrained(until: number): boolean {
    return this.#endings.read(until);
  }

  onLost(count: number, where: "ring" | "kernel" = "ring"): void {
    this.#counts.lost(count, where);
    this.#open.missed();
    if (count === 0) return;
    this.#flowLog.lost(count);
    this.#log.warn({ event: "records-lost", count, where }, "flow records were lost: they were not read fast enough");
  }

  onMessage(message: FromLane): void {
    switch (message.kind) {
      case "resolve":
        return void this.#resolve(message.request.id, message.request.names);
      case "end":
        this.#open.end(message.flow);
        return;
      case "learned":
        this.#journal.learned(message.bindings);
        return;
      case "adopted":
        this.#adopted.get(message.epoch)?.();
        return;
      case "unrecorded":
        this.onLost(message.count, "kernel");
        return;
      case "following":
      case "doubted":
        this.#endings.onMessage(message);
        return;
      case "recalled":
        this.#log.info({ event: "http-recalled", ...message.counts });
        return;
      case "barred":
        this.#floods.onBarred(message.workloads);
        return;
      case "policed":
        this.#floods.onPoliced(message.address, message.perSecond);
        return;
      case "trouble":
        this.#log.error({ event: "lane-trouble", suppressed: message.suppressed }, message.message);
    }
  }

  bindings(): readonly Binding[] {
    return this.#journal.bindings();
  }

  onReplaced(reason: string): void {
    this.#laneNumbers.refresh();
    this.#open.missed();
    tellHanded(this.#conntrack, this.#marks, this.#lane, this.#log);
    this.#log.warn(
      { event: "lane-started", reason },
      "a new packet lane gives verdicts; flows in their handshake, and HTTP flows in the midst of a request, are reset at their next packet",
    );
  }

  async #apply(inputs: Inputs): Promise<void> {
    const started = performance.now();
    const before = this.#epoch.inputs.config;
    const epoch = compileEpoch(this.#epoch.program.epoch + 1, keepFixed(inputs, before, this.#log));
    const { program } = epoch;
    const { config, workloads } = epoch.inputs;
    this.#epoch = epoch;
    this.#flowLog.setWorkloads(workloads);
    this.#floods.setWorkloads(workloads);
    this.#journal.setWorkloads(workloads);
    this.#journal.setLimit(config.limits.bindings);
    if (config.agentResolvers !== before.agentResolvers) this.#resolver.setServers(config.agentResolvers);
    if (needsNewLane(config, before)) await this.#keeper.install(epoch.inputs, program);
    await this.#adopt(epoch);
    if (needsNewLane(config, before)) await this.#lane.renew("its settings have changed");
    this.#takeOver.catchUp();
    // Once another agent enforces, it is that one's to end what is open.
    const ended = this.#retiring ? 0 : await this.#open.redecide(program);
    await this.#keeper.update(epoch.inputs, program);
    const milliseconds = Math.round(performance.now() - started);
    this.#log.info({
      event: "applied",
      epoch: program.epoch,
      policies: policyCount(inputs).policies,
      workloads: workloads.length,
      ended,
      milliseconds,
    });
  }

  /** The lane takes the new epoch between two batches; open flows are decided after that, so that no flow falls between the two. */
  async #adopt(epoch: Epoch): Promise<void> {
    const number = epoch.program.epoch;
    const adopted = new Promise<void>((resolve) => this.#adopted.set(number, resolve));
    this.#lane.setProgram(epoch.program.data, epoch.inputs.config, laneHostPods(epoch));
    await Promise.race([adopted, new Promise((resolve) => setTimeout(resolve, ADOPT_LIMIT_MS).unref())]);
    this.#adopted.delete(number);
    // What the lane decided with the old epoch is in the ring: it has to be among the flows that are decided anew.
    await this.#lane.drained();
  }

  async #resolve(requestId: number, names: readonly string[]): Promise<void> {
    const { restarts } = this.#lane;
    const answers = await Promise.all(names.map((name) => this.#resolver.resolve(name)));
    // A lane that replaced the one that asked counts its requests from the start.
    if (this.#lane.restarts === restarts) this.#lane.send({ kind: "resolved", requestId, answers });
  }
}
