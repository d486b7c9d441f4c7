import { ClusterDocuments, type ListedObject } from "../../agent/cluster/documents.ts";
import { STANDARD_KIND_OF, STANDARD_RESOURCES, standardResource } from "../../agent/cluster/standard.ts";
import { WRITTEN } from "../../controller/sallyport-objects.ts";
import { type Fields, keep } from "../../kube/object.ts";
import type { DestinationGroup, Policy, StandardKind } from "../../model/policy.ts";
import type { ConditionText, PolicyStatusText } from "../../policy/status-schema.ts";
import type { LiveCluster, Unseen } from "./live-cluster.ts";

export interface LiveDocuments {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly listing: readonly ListedObject[];
}

/**
 * Policies and groups of the cluster, read as agents read them. `namespace`: only EgressPolicies and NetworkPolicies of this one, which a
 * team may always see; null: all. `sources`: the standard policies that agents read; not everybody may. @throws UsageError
 */
export async function liveDocuments(
  cluster: LiveCluster,
  namespace: string | null,
  sources: Promise<readonly StandardKind[]>,
  unseen: (one: Unseen) => void,
): Promise<LiveDocuments> {
  const documents = new ClusterDocuments();
  await Promise.all([
    sources.then((kinds) => readStandard(cluster, namespace, kinds, unseen, documents)),
    ...WRITTEN.map(async ({ name, path, trim }) => {
      if (name === "agentconfigs") return;
      const where = name === "egresspolicies" ? pathIn(path, namespace) : path;
      const objects = await cluster.list({ path: where }, (object) => keep(object, trim));
      documents.take(name, new Map(objects.map((object) => [object.key, object])));
    }),
  ]);
  const { policies, groups, listing } = documents;
  return { policies, groups, listing };
}

async function readStandard(
  cluster: LiveCluster,
  namespace: string | null,
  sources: readonly StandardKind[],
  unseen: (one: Unseen) => void,
  documents: ClusterDocuments,
): Promise<void> {
  const listed = STANDARD_RESOURCES.filter((name) => sources.includes(STANDARD_KIND_OF[name]));
  await Promise.all(
    listed.map(async (name) => {
      const { path, trim } = standardResource(name);
      const where = name === "networkpolicies" ? pathIn(path, namespace) : path;
      const read = (object: Fields) => keep(object, trim);
      const objects = (await cluster.tryList({ path: where }, read, unseen, `every ${STANDARD_KIND_OF[name]}`)) ?? [];
      documents.take(name, new Map(objects.map((object) => [object.key, object])));
    }),
  );
}

/** Of a collection of all namespaces the part of one; null: all of it. */
function pathIn(path: string, namespace: string | null): string {
  return namespace === null ? path : path.replace(/\/(\w+)$/, `/namespaces/${namespace}/$1`);
}

/** What the controller says of an object. */
export function conditionOf({ object }: ListedObject, type: "Accepted" | "Programmed"): ConditionText | null {
  const { conditions = [] } = (object.value["status"] ?? {}) as PolicyStatusText;
  return conditions.find((condition) => condition.type === type) ?? null;
}
