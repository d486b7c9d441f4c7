import type { Policy } from "../../model/policy.ts";
import type { Workload } from "../../model/workload.ts";
import { selects } from "../../program/select.ts";
import type { Pod } from "../../workloads/pod.ts";
import { bypassFor } from "./bypass.ts";
import type { NodeSummary } from "./nodes.ts";

/**
 * What a pod is counted as, the first that fits:
 *
 * 1. `pending`: it is on no node, or has no address yet.
 * 2. `noAgent`: its node has no agent that enforces, so nothing is sure.
 * 3. `notEnforced`: the agent says that policies do not hold it, or somebody has set enforcement aside.
 * 4. `isolated`: an enforcing policy with default deny selects it. `restricted`: enforcing policies without default deny do. `observed`: none.
 */
export const COVERAGES = ["isolated", "restricted", "observed", "notEnforced", "noAgent", "pending"] as const;
export type Coverage = (typeof COVERAGES)[number];

export type CoverageCounts = Record<Coverage, number> & { pods: number };

export interface NamespaceCoverage extends CoverageCounts {
  readonly namespace: string;
}

/** A pod that no policy holds although one may be meant to. */
export interface UncoveredPod {
  readonly namespace: string;
  readonly pod: string;
  readonly node: string | null;
  readonly coverage: "notEnforced" | "noAgent";
  readonly reason: string;
}

const MOST_UNCOVERED = 1_000;
/** Pods of one owner come one after the other and bear the same labels. */
const MOST_KNOWN = 1_024;

export interface Judges {
  readonly policies: readonly Policy[];
  readonly systemNamespaces: readonly string[];
  readonly nodes: readonly NodeSummary[];
  readonly namespaceLabels: ReadonlyMap<string, Readonly<Record<string, string>>>;
}

/** Adds pods up as they come; of each nothing is kept but numbers, and of the first of those not held their names. */
export class CoverageCounter {
  readonly #judges: Judges;
  readonly #nodes: ReadonlyMap<string, NodeSummary>;
  readonly #bare: ReadonlyMap<string, string>;
  readonly #clusterPolicies: readonly Policy[];
  readonly #ownPolicies: ReadonlyMap<string | null, readonly Policy[]>;
  readonly #known = new Map<string, Coverage>();
  #namespaces = new Map<string, NamespaceCoverage>();
  #uncovered: UncoveredPod[] = [];
  #uncoveredLeftOut = 0;
  #reasons = new Map<string, number>();

  constructor(judges: Judges) {
    const { policies, nodes } = judges;
    this.#judges = judges;
    this.#nodes = new Map(nodes.map((node) => [node.node, node]));
    this.#bare = new Map(
      nodes.flatMap(({ notEnforced }) => notEnforced.map((one) => [keyOf(one.namespace, one.pod), one.reason])),
    );
    const enforcing = policies.filter(({ mode }) => mode === "Enforce");
    this.#clusterPolicies = enforcing.filter(({ namespace }) => namespace === null);
    this.#ownPolicies = Map.groupBy(enforcing, ({ namespace }) => namespace);
  }

  /** Forgets all pods: they come anew. */
  restart(): void {
    this.#namespaces = new Map();
    this.#uncovered = [];
    this.#uncoveredLeftOut = 0;
    this.#reasons = new Map();
  }

  add(pod: Pod): void {
    if (pod.ended) return;
    const { coverage, reason } = this.#judge(pod);
    const counts = this.#countsOf(pod.namespace);
    counts.pods++;
    counts[coverage]++;
    if (coverage !== "notEnforced" && coverage !== "noAgent") return;
    const word = coverage === "noAgent" ? "NoAgent" : reason;
    this.#reasons.set(word, (this.#reasons.get(word) ?? 0) + 1);
    const { namespace, name, node } = pod;
    if (this.#uncovered.length < MOST_UNCOVERED) this.#uncovered.push({ namespace, pod: name, node, coverage, reason });
    else this.#uncoveredLeftOut++;
  }

  get result() {
    const namespaces = [...this.#namespaces.values()].toSorted((a, b) => (a.namespace < b.namespace ? -1 : 1));
    const total: CoverageCounts = { ...nothing() };
    for (const counts of namespaces) {
      total.pods += counts.pods;
      for (const coverage of COVERAGES) total[coverage] += counts[coverage];
    }
    const reasons = Object.fromEntries([...this.#reasons].toSorted(([, a], [, b]) => b - a));
    return { total, reasons, namespaces, uncovered: this.#uncovered, uncoveredLeftOut: this.#uncoveredLeftOut };
  }

  #judge(pod: Pod): { readonly coverage: Coverage; readonly reason: string } {
    if (pod.node === null || (pod.addresses.length === 0 && !pod.hostNetwork))
      return { coverage: "pending", reason: "" };
    const node = this.#nodes.get(pod.node);
    if (node?.ready !== true) return { coverage: "noAgent", reason: node?.reason ?? "no agent" };
    const aside = bypassFor(node.bypasses, pod.namespace);
    if (aside !== undefined) return { coverage: "notEnforced", reason: "Bypassed" };
    const bare = this.#bare.get(keyOf(pod.namespace, pod.name));
    if (bare !== undefined) return { coverage: "notEnforced", reason: bare };
    // Those of the system are meant to share the node's network, and agents speak of those only that a policy selects.
    if (pod.hostNetwork && this.#judges.systemNamespaces.includes(pod.namespace)) {
      return { coverage: "observed", reason: "" };
    }
    return { coverage: this.#byPolicies(pod), reason: "" };
  }

  #byPolicies(pod: Pod): Coverage {
    const key = JSON.stringify([pod.namespace, pod.serviceAccount, pod.labels]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { systemNamespaces, namespaceLabels } = this.#judges;
    const workload: Workload = { ...pod, id: 0, namespaceLabels: namespaceLabels.get(pod.namespace) ?? {} };
    let coverage: Coverage = "observed";
    for (const policies of [this.#clusterPolicies, this.#ownPolicies.get(pod.namespace) ?? []]) {
      for (const policy of policies) {
        if (coverage === "isolated" || (coverage === "restricted" && !policy.defaultDeny)) continue;
        if (selects(policy, workload, systemNamespaces)) coverage = policy.defaultDeny ? "isolated" : "restricted";
      }
    }
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(key, coverage);
    return coverage;
  }

  #countsOf(namespace: string): NamespaceCoverage {
    const known = this.#namespaces.get(namespace);
    if (known !== undefined) return known;
    const fresh = { namespace, ...nothing() };
    this.#namespaces.set(namespace, fresh);
    return fresh;
  }
}

function nothing(): CoverageCounts {
  return { pods: 0, isolated: 0, restricted: 0, observed: 0, notEnforced: 0, noAgent: 0, pending: 0 };
}

function keyOf(namespace: string, pod: string): string {
  return `${namespace}/${pod}`;
}
