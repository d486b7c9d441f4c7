import type { KubeClient } from "../../kube/client.ts";
import type { Reflector } from "../../kube/reflector.ts";
import type { CoverageReport } from "../coverage/report.ts";
import type { RuntimeReport } from "../nri/report.ts";
import type { Refused } from "./documents.ts";

/** What an agent knows of its API server. Times are ISO 8601 in UTC. */
export interface ClusterReport {
  readonly node: string;
  readonly server: string;
  /** `watching`: all is followed; `catching-up`: some is not, yet or at the moment; `away`: nothing is. */
  readonly state: "watching" | "catching-up" | "away";
  readonly lastContact: string | null;
  /** When what is in force was written down by an earlier run; null: the API server has told all of it. */
  readonly rememberedFrom: string | null;
  readonly requests: number;
  readonly connections: number;
  readonly resources: readonly ResourceReport[];
  /** Objects that cannot be used as they are written; the first of them. */
  readonly refused: readonly Refused[];
  readonly refusedCount: number;
  /** Which pods cross the rules; those that do not are named as far as there are not too many. */
  readonly coverage: CoverageReport;
  /** The container runtime; null: it is not asked. */
  readonly runtime: RuntimeReport | null;
}

export interface ResourceReport {
  readonly name: string;
  readonly phase: "listing" | "watching" | "waiting" | "absent";
  readonly synced: boolean;
  readonly objects: number;
  readonly lastHeard: string | null;
  readonly watchRestarts: number;
  readonly relists: number;
  readonly linesRefused: number;
  readonly trouble: string | null;
}

const SHOWN_REFUSED = 50;
const SHOWN_PODS = 50;

export interface ReportSource {
  readonly node: string;
  readonly server: string;
  readonly client: KubeClient;
  readonly reflectors: readonly Reflector[];
  readonly refused: readonly Refused[];
  /** Milliseconds of Unix time; 0: nothing is only remembered. */
  readonly rememberedFrom: number;
  readonly coverage: CoverageReport;
  readonly runtime: RuntimeReport | null;
}

export function clusterReport({
  node,
  server,
  client,
  reflectors,
  refused,
  rememberedFrom,
  coverage,
  runtime,
}: ReportSource): ClusterReport {
  const followed = reflectors.filter(({ absent }) => !absent);
  const watching = followed.filter(({ phase }) => phase === "watching").length;
  return {
    node,
    server,
    state: watching === 0 ? "away" : watching === followed.length ? "watching" : "catching-up",
    lastContact: timeOf(client.heardAt),
    rememberedFrom: timeOf(rememberedFrom),
    requests: client.requests,
    connections: client.connects,
    resources: reflectors.map(reportOf),
    refused: refused.slice(0, SHOWN_REFUSED),
    refusedCount: refused.length,
    coverage: { ...coverage, notEnforced: coverage.notEnforced.slice(0, SHOWN_PODS) },
    runtime,
  };
}

function reportOf(reflector: Reflector): ResourceReport {
  const { resource, phase, absent, synced, objects, heardAt, counts, trouble } = reflector;
  return {
    name: resource.name,
    phase: absent ? "absent" : phase,
    synced,
    objects: objects.size,
    lastHeard: timeOf(heardAt),
    watchRestarts: counts.watchRestarts,
    relists: counts.relists,
    linesRefused: counts.refused,
    trouble,
  };
}

function timeOf(milliseconds: number): string | null {
  return milliseconds === 0 ? null : new Date(milliseconds).toISOString();
}
