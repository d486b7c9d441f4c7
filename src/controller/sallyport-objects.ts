import { GROUP, KIND_OF, type KindResource } from "../agent/cluster/resources.ts";
import { type Fields, pick } from "../kube/object.ts";
import type { Resource } from "../kube/reflector.ts";

const withStatus = (object: Fields): Fields => ({
  ...pick(object, "apiVersion", "kind", "spec", "status"),
  metadata: pick(object["metadata"], "name", "namespace", "uid", "generation"),
});

/** The kinds that people write, and of which the controller says what has become of them. */
export const WRITTEN = (Object.keys(KIND_OF) as KindResource[]).map((name) => ({
  name,
  path: `${GROUP}/${name}`,
  trim: withStatus,
})) satisfies readonly Resource[];

/** What agents say of their nodes. */
export const NODE_STATUSES: Resource = {
  name: "egressnodestatuses",
  path: `${GROUP}/egressnodestatuses`,
  trim: (object) => ({
    metadata: pick(object["metadata"], "name"),
    status: pick(object["status"], "policies", "denials", "ready", "bootID"),
  }),
};

/** The path of an object's status. */
export function statusPath(resource: KindResource, key: string): string {
  const [first = "", second] = key.split("/");
  const where = second === undefined ? "" : `/namespaces/${first}`;
  return `${GROUP}${where}/${resource}/${second ?? first}/status`;
}
