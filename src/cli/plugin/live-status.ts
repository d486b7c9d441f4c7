import { KIND_OF } from "../../agent/cluster/resources.ts";
import { WRITTEN } from "../../controller/sallyport-objects.ts";
import { type Fields, fields, generationOf, type KubeObject, keep } from "../../kube/object.ts";
import type { ConditionText, PolicyStatusText } from "../../policy/status-schema.ts";
import { EXIT } from "../failure.ts";
import { type AgentPod, tryControllerPods } from "./agent-pods.ts";
import { bypassText } from "./bypass.ts";
import { type NodeDenials, sumDenials } from "./denials.ts";
import { type ClusterOptions, LiveCluster, type Unseen } from "./live-cluster.ts";
import { liveStatusText } from "./live-status-text.ts";
import { type NodeSummary, readNodes } from "./nodes.ts";
import { type PluginFormat, printPlugin } from "./plugin-output.ts";

interface Options extends ClusterOptions {
  readonly output: PluginFormat;
}

/** What `status -o json` prints. */
export interface LiveStatus {
  /** Every node enforces every policy as it is written, and a controller says so. */
  readonly ready: boolean;
  /** One line each; none: ready. */
  readonly reasons: readonly string[];
  readonly nodes: {
    readonly total: number;
    readonly ready: number;
    readonly list: readonly Omit<NodeSummary, "notEnforced">[];
  };
  readonly objects: {
    readonly total: number;
    readonly accepted: number;
    readonly programmed: number;
    /** Those that are not both. */
    readonly troubled: readonly TroubledObject[];
  };
  readonly controllers: {
    /** Null: they may not be looked at. */
    readonly pods: number | null;
    readonly ready: number | null;
    readonly holder: string | null;
    readonly renewedAt: string | null;
  };
  readonly notEnforcedPods: number;
  /** What pods were denied lately, as their nodes tell it. */
  readonly denials: NodeDenials;
  readonly unseen: readonly Unseen[];
}

export interface TroubledObject {
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly object: string;
  readonly accepted: string | null;
  readonly programmed: string | null;
  /** One line. */
  readonly why: string;
}

const LEASE = "sallyport-controller";
/** The controller renews every two seconds or so; clocks of two machines differ. */
const STALE_MS = 60_000;

/** Says whether the whole cluster enforces what is written. Exit status 0: it does; 1: it does not. */
export async function liveStatus(options: Options): Promise<void> {
  const cluster = LiveCluster.open(options);
  try {
    const status = await readStatus(cluster);
    await printPlugin(options.output, status, () => liveStatusText(status, options.output === "wide"));
    process.exitCode = status.ready ? EXIT.ok : EXIT.failed;
  } finally {
    cluster.close();
  }
}

async function readStatus(cluster: LiveCluster): Promise<LiveStatus> {
  const unseen: Unseen[] = [];
  const see = (one: Unseen): void => void unseen.push(one);
  const [nodes, objects, controllers] = await Promise.all([
    readNodes(cluster, see),
    readObjects(cluster),
    readControllers(cluster, see),
  ]);
  const ready = nodes.filter((node) => node.ready).length;
  const reasons = [
    ...nodeReasons(nodes, ready),
    ...bypassReasons(nodes),
    ...objectReasons(objects),
    ...controllers.reasons,
  ];
  return {
    ready: reasons.length === 0,
    reasons,
    nodes: { total: nodes.length, ready, list: nodes.map(({ notEnforced: _, ...rest }) => rest) },
    objects,
    controllers: controllers.view,
    notEnforcedPods: nodes.reduce((sum, { notEnforcedPods }) => sum + notEnforcedPods, 0),
    denials: sumDenials(nodes.map(({ denials }) => denials)),
    unseen,
  };
}

function nodeReasons(nodes: readonly NodeSummary[], ready: number): string[] {
  if (nodes.length === 0) return ["no node has an agent"];
  if (ready === nodes.length) return [];
  const first = nodes.find((node) => !node.ready)!;
  return [`${nodes.length - ready} of ${nodes.length} nodes do not enforce; \`${first.node}\`: ${first.reason}`];
}

function bypassReasons(nodes: readonly NodeSummary[]): string[] {
  const bypassed = nodes.filter(({ bypasses }) => bypasses.length > 0);
  const [first] = bypassed;
  if (first === undefined) return [];
  return [`on ${bypassed.length} of ${nodes.length} nodes ${bypassText(first.bypasses[0]!)}`];
}

function objectReasons({ troubled, total }: LiveStatus["objects"]): string[] {
  const [first] = troubled;
  return first === undefined
    ? []
    : [
        `${troubled.length} of ${total} objects are not in force as they are written; \`${first.object}\`: ${first.why}`,
      ];
}

async function readObjects(cluster: LiveCluster): Promise<LiveStatus["objects"]> {
  const all = await Promise.all(
    WRITTEN.map(async ({ name, path, trim }) => {
      // Of what they say nothing is needed, only of what has become of it.
      const read = (object: Fields): KubeObject | null => keep(object, (one) => ({ ...trim(one), spec: {} }));
      const objects = await cluster.list({ path }, read);
      return objects.map((object) => judge(`${KIND_OF[name]}/${object.key}`, object));
    }),
  );
  const judged = all.flat();
  const troubled = judged.filter(({ why }) => why !== "");
  return {
    total: judged.length,
    accepted: judged.filter(({ accepted }) => accepted === "True").length,
    programmed: judged.filter(({ programmed }) => programmed === "True").length,
    troubled,
  };
}

/** `why` is empty where all is well. */
function judge(name: string, object: KubeObject): TroubledObject {
  const { conditions = [], observedGeneration } = fields(object.value["status"]) as PolicyStatusText;
  const find = (type: string): ConditionText | undefined => conditions.find((condition) => condition.type === type);
  const [accepted, programmed] = [find("Accepted"), find("Programmed")];
  const about = { object: name, accepted: accepted?.status ?? null, programmed: programmed?.status ?? null };
  if (accepted === undefined || observedGeneration !== generationOf(object)) {
    return { ...about, why: "the controller has not looked at it as it now is" };
  }
  if (accepted.status !== "True") return { ...about, why: accepted.message };
  return { ...about, why: programmed?.status === "True" ? "" : (programmed?.message ?? "not programmed") };
}

async function readControllers(
  cluster: LiveCluster,
  see: (one: Unseen) => void,
): Promise<{ readonly view: LiveStatus["controllers"]; readonly reasons: readonly string[] }> {
  const seen: Unseen[] = [];
  const path = `/apis/coordination.k8s.io/v1/namespaces/${cluster.sallyport}/leases/${LEASE}`;
  const [pods, lease] = await Promise.all([
    tryControllerPods(cluster, see),
    cluster.glance(path, (one) => seen.push(one), "which controller leads"),
  ]);
  for (const one of seen) see(one);
  const { holderIdentity, renewTime } = fields(lease?.["spec"]);
  const holder = typeof holderIdentity === "string" && holderIdentity !== "" ? holderIdentity : null;
  const renewedAt = typeof renewTime === "string" ? renewTime : null;
  const view = { pods: pods?.length ?? null, ready: readyOf(pods), holder, renewedAt };
  return { view, reasons: seen.length > 0 ? [] : leaseReasons(holder, renewedAt) };
}

function readyOf(pods: readonly AgentPod[] | null): number | null {
  return pods === null ? null : pods.filter(({ ready }) => ready).length;
}

function leaseReasons(holder: string | null, renewedAt: string | null): string[] {
  if (holder === null) return ["no controller leads: nobody says what has become of policies"];
  const age = renewedAt === null ? Number.POSITIVE_INFINITY : Date.now() - Date.parse(renewedAt);
  return age > STALE_MS ? [`the controller \`${holder}\` has not been heard of since ${renewedAt ?? "ever"}`] : [];
}
