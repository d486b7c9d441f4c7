import { networkInterfaces } from "node:os";
import type { FlowEnding } from "../../flow/ending.ts";
import { Conntrack } from "../../kernel/conntrack.ts";
import { Routing } from "../../kernel/routing.ts";
import type { AgentConfig } from "../../model/config.ts";
import type { Policy } from "../../model/policy.ts";
import type { Workload } from "../../model/workload.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import type { UnheldPod } from "../../workloads/objects.ts";
import type { HostPods } from "../host-network/host-pods.ts";
import { type Logger, RateLimit } from "../log.ts";
import { readRoutes } from "../pod-interfaces.ts";
import { keyOf, Ledger } from "./ledger.ts";
import { type Outlet, outletsOf } from "./outlets.ts";
import { type CoverageReport, coverageReport, type Finding, NOTHING_KNOWN, sayChanges } from "./report.ts";
import { type Known, NEW, settle } from "./settle.ts";
import { type Signs, UNSEEN_LIMITS, type UnseenLimits, UnseenWatch } from "./unseen.ts";
import { CachedWays, heldAtStart, outwardInterfaces, whyBypassed } from "./way.ts";

/** The pods of this node and what is said of them. */
export interface CoveredPods {
  readonly workloads: readonly Workload[];
  readonly unheld: readonly UnheldPod[];
  readonly policies: readonly Policy[];
  readonly config: Pick<AgentConfig, "systemNamespaces" | "podCIDRs" | "podInterfaces">;
  /** By which other machines know this node. */
  readonly nodeAddresses: readonly Address[];
}

/** News of all flows that end in conntrack. */
export interface EndedFlows {
  /** Has each told from now on, borrowed until the call returns; null: none any more. */
  listen(each: ((ending: FlowEnding) => void) | null): void;
  /** Resolves when those were told that had ended at the call. */
  settle(): Promise<void>;
  /** Times that some were lost; monotonic. */
  readonly lost: number;
}

export interface CoverageSigns extends Signs {
  readonly endings: EndedFlows;
}

const UNTOLD: EndedFlows = { listen: () => undefined, settle: async () => undefined, lost: 0 };

export interface CoverageOptions {
  readonly log: Logger;
  readonly hostPods: Pick<HostPods, "whyNot">;
  /** The report is another. */
  readonly changed: () => void;
  readonly unseen?: UnseenLimits;
}

/** After a change of pods. The address of a new one is told when its interface is there. */
const SOON_MS = 50;
/** Routes change without anybody telling. */
const EVERY_MS = 10_000;
const LOOK_AGAIN_MS = 1_000;
const TROUBLE_EVERY_MS = 60_000;
/** So many times as long as the last walk over conntrack took there is no other. */
const REST = 50;

const NO_CONFIG: CoveredPods["config"] = { systemNamespaces: [], podCIDRs: [], podInterfaces: [] };

const WORDS: Readonly<Record<UnheldPod["why"], string>> = {
  HostNetwork: "it shares the network of its node, and nothing tells its traffic from the node's own",
  NoAddress: "it runs, and no address of it is known",
  OtherNetwork: "what leaves by its other interfaces does not cross the node's rules",
};

const AROUND =
  "it is held at the node's output by its control group, but it may send frames past the rules: drop the capability `NET_RAW`, and add none of the network's";

/**
 * Enforcement is proven, not assumed (DESIGN §4.10): asks the kernel for the way to each pod of the node when pods change and every
 * ten seconds, some 30 µs an address, and keeps a report of those whose traffic does not cross the rules.
 */
export class Coverage {
  readonly #options: CoverageOptions;
  readonly #routing = new Routing();
  readonly #troubles = new RateLimit(TROUBLE_EVERY_MS);
  readonly #unseen: UnseenWatch;
  readonly #everyMs: number;
  #pods: CoveredPods = { workloads: [], unheld: [], policies: [], config: NO_CONFIG, nodeAddresses: [] };
  /** By the pod's id. */
  #known = new Map<number, Known>();
  #report: CoverageReport = NOTHING_KNOWN;
  #timer: NodeJS.Timeout | null = null;
  #due = Infinity;
  #closed = false;
  #restUntil = 0;
  readonly #ledger = new Ledger();
  /** News of endings that were lost until conntrack was walked over last. */
  #lost = 0;
  /** What else tells that a pod is seen. */
  signs: CoverageSigns = { refused: () => 0, flows: () => 0, endings: UNTOLD };

  constructor(options: CoverageOptions) {
    this.#options = options;
    const { unseen = UNSEEN_LIMITS } = options;
    this.#unseen = new UnseenWatch(unseen);
    this.#everyMs = Math.min(EVERY_MS, unseen.windowMs);
  }

  get report(): CoverageReport {
    return this.#report;
  }

  /** These are the pods now; the report follows. */
  set(pods: CoveredPods): void {
    this.#pods = pods;
    this.#lookIn(SOON_MS);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.signs.endings.listen(null);
    this.#routing.close();
  }

  #lookIn(milliseconds: number): void {
    const due = performance.now() + milliseconds;
    if (this.#closed || due >= this.#due) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#due = Infinity;
      this.#look(performance.now());
      const settled = [...this.#known.values()].every(({ since }) => since === 0);
      this.#lookIn(settled ? this.#everyMs : Math.min(this.#everyMs, LOOK_AGAIN_MS));
    }, milliseconds);
  }

  #look(now: number): void {
    try {
      this.#known = this.#find(now);
    } catch (error) {
      for (const [id, { state }] of this.#known) if (state === "crossing") this.#known.set(id, NEW);
      const suppressed = this.#troubles.allow(now);
      if (suppressed !== null) {
        const words = "whether pods cross the node's rules cannot be found out; trying again";
        this.#options.log.warn({ event: "coverage-unknown", error: String(error), suppressed }, words);
      }
    }
    this.#tell();
  }

  /** @throws SystemError where the kernel does not answer */
  #find(now: number): Map<number, Known> {
    const { workloads, unheld, nodeAddresses, config } = this.#pods;
    const outward = outwardInterfaces(readRoutes(), networkInterfaces(), nodeAddresses);
    const ways = new CachedWays(this.#routing);
    const known = new Map<number, Known>();
    if (this.#unseen.isDue(now)) this.#compare(ways, now);
    for (const { id, addresses } of workloads) {
      let message: string | null = null;
      for (const address of addresses) message ??= whyBypassed(address, ways, outward);
      const unseen = this.#unseen.whyUnseen(id);
      const found: Finding | null =
        message !== null
          ? { state: "NotRoutedByNode", message }
          : unseen === null
            ? null
            : { state: "NotSeenByHooks", message: unseen };
      const openAtStart = message === null && !addresses.every((address) => heldAtStart(address, ways, config));
      known.set(id, { ...settle(this.#known.get(id) ?? NEW, found, now), openAtStart });
    }
    for (const { why, pod, interfaces, raw } of unheld) {
      if ((known.get(pod.id)?.state ?? "crossing") !== "crossing") continue;
      if (why === "HostNetwork") {
        known.set(pod.id, { ...this.#onHost(pod, raw), since: 0 });
        continue;
      }
      const message = why === "OtherNetwork" ? `${WORDS[why]}: ${interfaces.join(", ")}` : WORDS[why];
      const finding: Finding = { state: why, message };
      const before = this.#known.get(pod.id) ?? NEW;
      known.set(pod.id, why === "NoAddress" ? settle(before, finding, now) : { ...finding, since: 0 });
    }
    return known;
  }

  /** What came from pods with what was seen of it; the answer may come later. */
  #compare(ways: CachedWays, now: number): void {
    const linksOf = new Map<number, Set<number>>();
    for (const { id, addresses } of this.#pods.workloads) {
      const links = addresses.map((address) => ways.routeTo(address).link).filter((index) => index !== 0);
      if (links.length > 0) linksOf.set(id, new Set(links));
    }
    const outlets = (): readonly Outlet[] => outletsOf(linksOf, this.#routing.counted());
    const asked = this.#unseen.look(outlets(), this.signs, now);
    if (asked.length > 0 && now >= this.#restUntil) void this.#ask(asked, outlets, now);
    else if (this.#unseen.watched().size === 0 && this.#restUntil !== Number.POSITIVE_INFINITY)
      this.signs.endings.listen(null);
  }

  async #ask(asked: readonly Outlet[], outlets: () => readonly Outlet[], began: number): Promise<void> {
    this.#restUntil = Number.POSITIVE_INFINITY;
    const conntrack = new Conntrack();
    try {
      this.#watch(new Set([...this.#unseen.watched(), ...asked.flatMap(({ pods }) => pods)]));
      const lost = this.#lost;
      await this.#ledger.walk(conntrack);
      await this.signs.endings.settle();
      if (this.#closed) return;
      this.#lost = this.signs.endings.lost;
      this.#unseen.judge(asked, this.#ledger.take(), outlets(), this.signs, lost === this.#lost, performance.now());
    } catch (error) {
      const suppressed = this.#troubles.allow(performance.now());
      if (suppressed !== null) this.#options.log.warn({ event: "coverage-unknown", error: String(error), suppressed });
    } finally {
      conntrack.close();
      const now = performance.now();
      this.#restUntil = now + (now - began) * REST;
      this.#lookIn(0);
    }
  }

  /** Has the packets of these pods counted from here on. */
  #watch(ids: ReadonlySet<number>): void {
    const own = this.#pods.workloads.filter(({ id }) => ids.has(id));
    const pods = new Map(own.flatMap(({ id, addresses }) => addresses.map((address) => [keyOf(address), id] as const)));
    this.#ledger.watch(pods, nodeKeys());
    this.signs.endings.listen((ending) => this.#ledger.ended(ending));
  }

  #onHost(pod: Workload, raw: boolean): Finding {
    const whyNot = this.#options.hostPods.whyNot(pod.uid);
    if (whyNot !== null) return { state: "HostNetwork", message: `${WORDS.HostNetwork}: ${whyNot}` };
    return raw ? { state: "HostNetwork", message: AROUND, partly: true } : { state: "crossing", message: "" };
  }

  #tell(): void {
    const { workloads, unheld, policies, config } = this.#pods;
    const findings = new Map<number, readonly [Workload, Finding]>();
    for (const pod of [...workloads, ...unheld.map((one) => one.pod)]) {
      const finding = this.#known.get(pod.id);
      if (finding !== undefined) findings.set(pod.id, [pod, finding]);
    }
    const before = this.#report;
    this.#report = coverageReport(findings.values(), policies, config.systemNamespaces);
    if (JSON.stringify(before) === JSON.stringify(this.#report)) return;
    sayChanges(before, this.#report, this.#options.log);
    this.#options.changed();
  }
}

/** Addresses of the node itself. */
function nodeKeys(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return new Set(all.flatMap(({ address }) => parseAddress(address.split("%")[0] ?? "") ?? []).map(keyOf));
}
