import { ClusterDocuments, type ListedObject } from "../../agent/cluster/documents.ts";
import { WRITTEN } from "../../controller/sallyport-objects.ts";
import { keep } from "../../kube/object.ts";
import type { DestinationGroup, Policy } from "../../model/policy.ts";
import type { ConditionText, PolicyStatusText } from "../../policy/status-schema.ts";
import type { LiveCluster } from "./live-cluster.ts";

export interface LiveDocuments {
  readonly policies: readonly Policy[];
  readonly groups: readonly DestinationGroup[];
  readonly listing: readonly ListedObject[];
}

/**
 * Policies and groups of the cluster, read as agents read them. `namespace`: only EgressPolicies of this one, which a team may always see;
 * null: all. @throws UsageError
 */
export async function liveDocuments(cluster: LiveCluster, namespace: string | null): Promise<LiveDocuments> {
  const documents = new ClusterDocuments();
  await Promise.all(
    WRITTEN.map(async ({ name, path, trim }) => {
      if (name === "agentconfigs") return;
      const own = name === "egresspolicies" && namespace !== null;
      const where = own ? path.replace(/\/egresspolicies$/, `/namespaces/${namespace}/egresspolicies`) : path;
      const objects = await cluster.list({ path: where }, (object) => keep(object, trim));
      documents.take(name, new Map(objects.map((object) => [object.key, object])));
    }),
  );
  const { policies, groups, listing } = documents;
  return { policies, groups, listing };
}

/** What the controller says of an object. */
export function conditionOf({ object }: ListedObject, type: "Accepted" | "Programmed"): ConditionText | null {
  const { conditions = [] } = (object.value["status"] ?? {}) as PolicyStatusText;
  return conditions.find((condition) => condition.type === type) ?? null;
}
