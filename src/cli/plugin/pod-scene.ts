import { CONFIG_NAME, insideOf } from "../../agent/cluster/config.ts";
import { discover, type Found } from "../../agent/cluster/discovery.ts";
import type { ListedObject } from "../../agent/cluster/documents.ts";
import { GROUP, type Place, type ResourceName, resourcesOf } from "../../agent/cluster/resources.ts";
import { METADATA_ONLY } from "../../kube/listing.ts";
import { type Fields, fields, keep } from "../../kube/object.ts";
import type { AgentConfig } from "../../model/config.ts";
import type { Policy } from "../../model/policy.ts";
import { readClusterConfig } from "../../policy/cluster-reading.ts";
import { wholeConfig } from "../../policy/convert.ts";
import { nearest } from "../../policy/nearest.ts";
import { compileProgram } from "../../program/compile.ts";
import { openProgram } from "../../program/program.ts";
import { selects } from "../../program/select.ts";
import { IdentityTable } from "../../workloads/identity.ts";
import { ClusterWorkloads } from "../../workloads/kube-objects.ts";
import { UsageError } from "../failure.ts";
import { findWorkload } from "../judge.ts";
import type { Scene } from "../scene.ts";
import type { LiveCluster, Unseen } from "./live-cluster.ts";
import { liveDocuments } from "./live-documents.ts";
import type { PodName } from "./pod-name.ts";

/** One pod of a live cluster, and all that decides for it. */
export interface PodScene {
  readonly scene: Scene;
  /** `namespace/name`. */
  readonly from: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Null: it is not on one yet. */
  readonly node: string | null;
  /** Policies and groups as the API server holds them, with their status. */
  readonly listing: readonly ListedObject[];
  /** What an address is judged inside or outside by, as far as it may not be looked at. */
  readonly unseen: readonly Unseen[];
  /** Policies that may not be looked at: the pod may be judged wrongly without them. */
  readonly unread: readonly Unseen[];
  /** Why the AgentConfig is not in force as it is written; null: it is. */
  readonly configProblem: string | null;
}

const ABOUT_RANGES: Partial<Record<ResourceName, string>> = {
  nodes: "the node's own ranges",
  services: "the DNS Service",
  endpointslices: "the DNS servers",
  apiserver: "the API server's endpoints",
  servicecidrs: "the ranges of Services",
  ranges: "the pod ranges of other nodes",
};

/** Reads what the agent of the pod's node reads, and makes of it what it makes. @throws UsageError no such pod, no right, no answer */
export async function loadPodScene(cluster: LiveCluster, name: PodName): Promise<PodScene> {
  const pod = await readPod(cluster, name);
  const { nodeName } = fields(pod["spec"]);
  const node = typeof nodeName === "string" && nodeName !== "" ? nodeName : null;
  const unseen: Unseen[] = [];
  const unread: Unseen[] = [];
  const configured = readConfig(cluster, { node: node ?? "", namespace: cluster.sallyport }, unseen);
  const sources = configured.then(({ config }) => config.sources);
  const [namespace, documents, { config, configProblem }] = await Promise.all([
    cluster.find(`/api/v1/namespaces/${name.namespace}`),
    liveDocuments(cluster, name.namespace, sources, (one) => unread.push(one)),
    configured,
  ]);
  const pods = new ClusterWorkloads(new IdentityTable()).read([pod], () =>
    namespace === null ? undefined : { value: namespace },
  );
  const { policies, groups, listing } = documents;
  const program = openProgram(compileProgram({ epoch: 1, policies, groups, workloads: pods.workloads, config }));
  const from = `${name.namespace}/${name.name}`;
  const uid = String(fields(pod["metadata"])["uid"]);
  const scene = { program, pods, policies, config };
  return { scene, from, ...name, uid, node, listing, unseen, unread, configProblem };
}

/** Those that select the pod, in no order. @throws UsageError where nothing is decided for it */
export function selectingPolicies({ scene, from }: PodScene): Policy[] {
  const workload = findWorkload(scene, from);
  return scene.policies.filter((policy) => selects(policy, workload, scene.config.systemNamespaces));
}

/** @throws UsageError also where it is over, or has no address yet: nothing is decided for it */
async function readPod(cluster: LiveCluster, { namespace, name }: PodName): Promise<Fields> {
  const folder = `/api/v1/namespaces/${namespace}/pods`;
  const pod = await cluster.find(`${folder}/${name}`);
  if (pod === null) {
    throw new UsageError(`no pod \`${name}\` in namespace \`${namespace}\`${await didYouMean(cluster, folder, name)}`);
  }
  const { phase, podIP, podIPs } = fields(pod["status"]);
  if (phase === "Succeeded" || phase === "Failed") {
    throw new UsageError(`pod \`${namespace}/${name}\` is over (${phase}): it makes no connections any more`);
  }
  if (podIP === undefined && podIPs === undefined) {
    throw new UsageError(`pod \`${namespace}/${name}\` has no address yet (${String(phase)}): ask again when it runs`);
  }
  return pod;
}

async function didYouMean(cluster: LiveCluster, folder: string, name: string): Promise<string> {
  try {
    const nameOf = (pod: Fields): string => String(fields(pod["metadata"])["name"]);
    const names = await cluster.list({ path: folder }, nameOf, METADATA_ONLY);
    const near = nearest(name, names) ?? names.find((one) => one.startsWith(name));
    return near === undefined ? ": is it the right namespace (`-n`)?" : `: did you mean \`${near}\`?`;
  } catch {
    // Whoever may read one pod need not be allowed to list them.
    return ": is it the right namespace (`-n`)?";
  }
}

interface Configured {
  readonly config: AgentConfig;
  readonly configProblem: string | null;
}

/** The AgentConfig, and what it leaves out as the agent of the node finds it. */
async function readConfig(cluster: LiveCluster, place: Place, unseen: Unseen[]): Promise<Configured> {
  const resources = resourcesOf(place).filter(({ name }) => ABOUT_RANGES[name] !== undefined);
  const [own, ...lists] = await Promise.all([
    cluster.find(`${GROUP}/agentconfigs/${CONFIG_NAME}`),
    ...resources.map(async ({ name, trim, ...selection }) => {
      const what = ABOUT_RANGES[name] ?? name;
      const found = await cluster.tryList(
        selection,
        (object) => keep(object, trim),
        (one) => unseen.push(one),
        what,
      );
      return { name, objects: found ?? [] };
    }),
  ]);
  const found = discover((name) => lists.find((list) => list.name === name)?.objects ?? []);
  const written = fields(own?.["spec"]);
  const whole = configOf(found, written);
  if (whole.config !== null) return { config: whole.config, configProblem: whole.problem };
  const usual = configOf(found, {});
  if (usual.config === null) throw new Error(`the cluster's own ranges cannot be read: ${usual.problem}`);
  return { config: usual.config, configProblem: whole.problem };
}

/** What may not be looked at is not known: no resolver is trusted then, or no range is a pod's. */
function configOf(found: Found, written: Fields): { config: AgentConfig | null; problem: string | null } {
  const { resolvers, podCIDRs, internalEndpoints } = found;
  const { inside: clusterCIDRs } = insideOf(found, written);
  const all = { resolvers, podCIDRs, clusterCIDRs, internalEndpoints };
  const known = Object.entries(all).filter(([, list]) => list.length > 0);
  const { value, flaw } = readClusterConfig({ spec: { ...Object.fromEntries(known), ...written } });
  const config = value && wholeConfig({ ...value, resolvers: value.resolvers ?? [], podCIDRs: value.podCIDRs ?? [] });
  return { config, problem: flaw?.message ?? null };
}
