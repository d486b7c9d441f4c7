import { Ruleset } from "../kernel/nftables.ts";
import type { QueueMethod, RulesetSpec } from "../kernel/ruleset.ts";
import type { RulesetSets } from "../kernel/ruleset-sets.ts";
import type { Generation } from "../model/verdict.ts";
import type { Workload } from "../model/workload.ts";
import type { Program } from "../program/program.ts";
import type { BootRules } from "./boot-rules.ts";
import { asideUntil, bypassedRanges } from "./bypass/bypass.ts";
import { type GroupedPod, heldPods } from "./host-network/host-pods.ts";
import type { HostKeeper } from "./host-network/host-rules.ts";
import { type Logger, RateLimit } from "./log.ts";
import { podInterfaces, readRoutes } from "./pod-interfaces.ts";
import type { Inputs } from "./state.ts";

const VERIFY_EVERY_MS = 250;
const TROUBLE_EVERY_MS = 10_000;

/**
 * Keeps the ruleset of this namespace as the running epoch needs it: sets after every change, and all of it again when
 * another program flushed it. One change at a time; the last one asked for wins.
 */
export class RulesetKeeper {
  readonly #ruleset = new Ruleset();
  readonly #method: QueueMethod;
  readonly #generation: Generation;
  readonly #log: Logger;
  /** The agent before this one still listens. */
  #other: boolean;
  #spec: RulesetSpec | null = null;
  #paused = false;
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #wanted: RulesetSets | null = null;
  #done: RulesetSets | null = null;
  #verifying = false;
  readonly #troubles = new RateLimit(TROUBLE_EVERY_MS);
  restored = 0;
  readonly #boot: BootRules | null;
  readonly #host: HostKeeper | null;
  /** On the host's network: those that are held, of those that are known. */
  #hostPods: readonly [held: readonly GroupedPod[], known: readonly GroupedPod[]] = [[], []];

  /**
   * `other`: the agent of the other generation listens too, until `alone`. `boot`: what the next boot begins with; null: nobody asked. `host`: what tells
   * pods on the host's network from it; null: nothing does.
   */
  constructor(
    method: QueueMethod,
    generation: Generation,
    other: boolean,
    log: Logger,
    boot: BootRules | null = null,
    host: HostKeeper | null = null,
  ) {
    this.#host = host;
    this.#boot = boot;
    this.#method = method;
    this.#generation = generation;
    this.#other = other;
    this.#log = log;
  }

  /** Installs everything and begins to watch over it. */
  async install(inputs: Inputs, program: Program): Promise<void> {
    const spec = this.#specOf(inputs, program);
    const hostPods = [heldPods(inputs, program), inputs.grouped ?? []] as const;
    await this.#inTurn(async () => {
      this.#hostPods = hostPods;
      this.#spec = spec;
      this.#wanted = spec.sets;
      if (this.#paused) return;
      await this.#ruleset.refill(spec);
      this.#done = spec.sets;
      this.#boot?.keep(spec);
      await this.#host?.hold(...hostPods);
    });
    this.#watch();
  }

  /** The agent of the other generation has gone, or is about to: nothing is asked of it any more. */
  async alone(): Promise<void> {
    await this.#inTurn(async () => {
      this.#other = false;
      if (this.#spec === null || this.#paused) return;
      this.#spec = { ...this.#spec, other: false, sets: this.#wanted ?? this.#spec.sets };
      await this.#ruleset.refill(this.#spec);
      this.#done = this.#spec.sets;
    });
  }

  /** Lets another agent put its ruleset in the place of this one: from here on nothing is changed. */
  async pause(): Promise<void> {
    await this.#inTurn(async () => {
      this.#paused = true;
    });
  }

  /** Watches again, and puts this ruleset back where another one is. */
  async resume(): Promise<void> {
    await this.#inTurn(async () => {
      this.#paused = false;
      await this.#host?.hold(...this.#hostPods);
    });
    await this.#verify();
  }

  /** Brings the sets up to date. */
  async update(inputs: Inputs, program: Program): Promise<void> {
    const spec = this.#specOf(inputs, program);
    const hostPods = [heldPods(inputs, program), inputs.grouped ?? []] as const;
    await this.#inTurn(async () => {
      this.#hostPods = hostPods;
      await this.#withHostRules(spec);
      await this.#update(spec.sets);
      if (!this.#paused) await this.#host?.hold(...hostPods);
    });
  }

  /** Ends the watch; the ruleset stays. */
  async release(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#turn.catch(() => undefined);
    this.#ruleset.close();
    this.#host?.close();
  }

  /** Takes everything away: from here on nothing is enforced. */
  async remove(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#boot?.remove();
    await this.#inTurn(async () => {
      await this.#ruleset.remove();
      await this.#host?.remove();
    });
    this.#ruleset.close();
    this.#host?.close();
  }

  /** The rules are in place as of now. Waits for the change under way; a glance while nobody else has changed any. */
  async inPlace(): Promise<boolean> {
    let verified = false;
    await this.#inTurn(async () => {
      verified = await this.#ruleset.verify();
    });
    return verified;
  }

  counters(): Promise<Map<string, number>> {
    return this.#ruleset.counters();
  }

  /** Packets dropped for a flood, by address. */
  dropped(): Promise<Map<string, number>> {
    return this.#ruleset.dropped();
  }

  /** The rules for pods on the host's network come with the first one that is held, and stay: rules that go would take waiting packets with them. */
  async #withHostRules(spec: RulesetSpec): Promise<void> {
    if (spec.hostPods !== true || this.#spec === null || this.#spec.hostPods === true) return;
    this.#spec = { ...this.#spec, hostPods: true };
    if (this.#paused) return;
    await this.#ruleset.refill({ ...this.#spec, sets: this.#done ?? this.#spec.sets });
  }

  async #update(sets: RulesetSets): Promise<void> {
    this.#wanted = sets;
    if (this.#paused) return;
    await this.#ruleset.updateSets(sets);
    this.#done = sets;
    if (this.#spec !== null) this.#boot?.keep({ ...this.#spec, sets });
  }

  /** What could not be done when it was asked for, and the interfaces of pods that were plugged in since. */
  async #catchUp(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === null) return;
    const interfaces = podInterfaces(wanted.podRanges, readRoutes());
    const same = interfaces.join() === wanted.podInterfaces.join();
    if (wanted !== this.#done || !same) await this.#update({ ...wanted, podInterfaces: interfaces });
  }

  async #verify(): Promise<void> {
    if (this.#verifying || this.#paused) return;
    this.#verifying = true;
    try {
      await this.#inTurn(async () => {
        if (this.#paused) return;
        const changed = await this.#ruleset.restore();
        await this.#catchUp();
        await this.#host?.verify();
        if (!changed) return;
        this.restored++;
        this.#log.error(
          { event: "ruleset-restored", times: this.restored },
          "somebody changed our rules; they are in place again",
        );
      });
    } catch (error) {
      const suppressed = this.#troubles.allow(performance.now());
      if (suppressed === null) return;
      this.#log.error(
        { event: "ruleset-broken", error: String(error), suppressed },
        "our rules cannot be put back; trying again",
      );
    } finally {
      this.#verifying = false;
    }
  }

  #watch(): void {
    this.#timer ??= setInterval(() => void this.#verify(), VERIFY_EVERY_MS);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const next = this.#turn.catch(() => undefined).then(work);
    this.#turn = next;
    return next;
  }

  #specOf(inputs: Inputs, program: Program): RulesetSpec {
    const { config, workloads, bypasses = [] } = inputs;
    const sets: RulesetSets = {
      podRanges: config.podCIDRs,
      workloads: workloads.flatMap((workload) => workload.addresses),
      observed: workloads
        .filter((workload) => !isEnforced(program, workload))
        .flatMap((workload) => workload.addresses),
      inside: config.clusterCIDRs,
      internalEndpoints: config.internalEndpoints,
      resolvers: config.resolvers,
      podInterfaces: podInterfaces(config.podCIDRs, readRoutes()),
      bypass: bypassedRanges(bypasses, config.podCIDRs, workloads),
      asideUntil: asideUntil(bypasses),
    };
    return {
      markMask: config.markMask,
      method: this.#method,
      queueNumber: config.queueNumber,
      generation: this.#generation,
      other: this.#other,
      failMode: config.failMode,
      podLinks: config.podInterfaces,
      sets,
      hostPods: this.#spec?.hostPods === true || (this.#host !== null && heldPods(inputs, program).length > 0),
    };
  }
}

/**
 * Some enforcing policy selects the workload: it may be denied something, so it is never let by unseen. Also where that is set aside: for
 * such a pod there is a set whose elements end by themselves.
 */
function isEnforced(program: Program, workload: Workload): boolean {
  const cls = program.classOf(workload.id);
  return cls < 0 || program.selected(cls) || program.bypassed(cls);
}
