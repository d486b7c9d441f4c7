import { type Fields, pick } from "../kube/object.ts";
import type { Resource } from "../kube/reflector.ts";

/** The kinds that people write, and of which the controller says what has become of them. */
export const KINDS = ["ClusterEgressPolicy", "EgressPolicy", "DestinationGroup", "AgentConfig"] as const;
export type Kind = (typeof KINDS)[number];

const PLURALS: Readonly<Record<Kind, string>> = {
  ClusterEgressPolicy: "clusteregresspolicies",
  EgressPolicy: "egresspolicies",
  DestinationGroup: "destinationgroups",
  AgentConfig: "agentconfigs",
};
const GROUP = "/apis/sallyport.dev/v1alpha1";

const withStatus = (object: Fields): Fields => ({
  ...pick(object, "apiVersion", "kind", "spec", "status"),
  metadata: pick(object["metadata"], "name", "namespace", "uid", "generation"),
});

export const WRITTEN: readonly (Resource & { readonly kind: Kind })[] = KINDS.map((kind) => ({
  kind,
  name: PLURALS[kind],
  path: `${GROUP}/${PLURALS[kind]}`,
  trim: withStatus,
}));

/** What agents say of their nodes. */
export const NODE_STATUSES: Resource = {
  name: "egressnodestatuses",
  path: `${GROUP}/egressnodestatuses`,
  trim: (object) => ({ metadata: pick(object["metadata"], "name"), status: pick(object["status"], "policies") }),
};

/** The path of an object's status. */
export function statusPath(kind: Kind, key: string): string {
  const [first = "", second] = key.split("/");
  const where = second === undefined ? "" : `/namespaces/${first}`;
  return `${GROUP}${where}/${PLURALS[kind]}/${second ?? first}/status`;
}
