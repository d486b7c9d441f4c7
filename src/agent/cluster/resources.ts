import { type Fields, fields, pick } from "../../kube/object.ts";
import type { Resource } from "../../kube/reflector.ts";
import { API_VERSION, type Kind } from "../../policy/schema.ts";
import { CONTAINERS, MIRRORED, NETWORK_STATUS } from "../../workloads/pod.ts";
import { rangesResource } from "./ranges.ts";
import type { StandardResource } from "./standard.ts";

export type ResourceName =
  | "pods"
  | "namespaces"
  | "clusteregresspolicies"
  | "egresspolicies"
  | "destinationgroups"
  | "agentconfigs"
  | "nodes"
  | "services"
  | "endpointslices"
  | "apiserver"
  | "servicecidrs"
  | "ranges"
  | StandardResource;

/** Without these nothing can be enforced; the others only say what need not be configured. */
export const REQUIRED: readonly ResourceName[] = [
  "pods",
  "namespaces",
  "clusteregresspolicies",
  "egresspolicies",
  "destinationgroups",
  "agentconfigs",
];

export const KIND_OF = {
  clusteregresspolicies: "ClusterEgressPolicy",
  egresspolicies: "EgressPolicy",
  destinationgroups: "DestinationGroup",
  agentconfigs: "AgentConfig",
} as const satisfies Partial<Record<ResourceName, Kind>>;

export type KindResource = keyof typeof KIND_OF;

/** Where the API server has objects of Sallyport's kinds. */
export const GROUP = `/apis/${API_VERSION}`;
const SLICES = "/apis/discovery.k8s.io/v1/namespaces";

/** Where an agent runs. */
export interface Place {
  /** Name of the Node. */
  readonly node: string;
  /** Sallyport's own namespace. */
  readonly namespace: string;
}

/** What an agent watches, but for standard policies. Of pods only its own node's: the traffic does not grow with the cluster. */
export function resourcesOf(place: Place): readonly (Resource & { readonly name: ResourceName })[] {
  const { node, namespace } = place;
  const kind = (name: KindResource) => ({ name, path: `${GROUP}/${name}`, trim: trimDocument, custom: true });
  return [
    { name: "pods", path: "/api/v1/pods", fieldSelector: `spec.nodeName=${node}`, trim: trimPod },
    { name: "namespaces", path: "/api/v1/namespaces", trim: trimNamespace },
    kind("clusteregresspolicies"),
    kind("egresspolicies"),
    kind("destinationgroups"),
    kind("agentconfigs"),
    { name: "nodes", path: "/api/v1/nodes", fieldSelector: `metadata.name=${node}`, trim: trimNode, optional: true },
    {
      name: "services",
      path: "/api/v1/namespaces/kube-system/services",
      labelSelector: "k8s-app=kube-dns",
      trim: (object) => ({ spec: pick(object["spec"], "clusterIP", "clusterIPs") }),
      optional: true,
    },
    {
      name: "endpointslices",
      path: `${SLICES}/kube-system/endpointslices`,
      labelSelector: "k8s-app=kube-dns",
      trim: trimSlice,
      optional: true,
    },
    {
      name: "apiserver",
      path: `${SLICES}/default/endpointslices`,
      labelSelector: "kubernetes.io/service-name=kubernetes",
      trim: trimSlice,
      optional: true,
    },
    {
      name: "servicecidrs",
      path: "/apis/networking.k8s.io/v1/servicecidrs",
      trim: (object) => ({ spec: pick(object["spec"], "cidrs") }),
      optional: true,
    },
    { name: "ranges", ...rangesResource(namespace) },
  ];
}

/** What `readPod` reads. */
function trimPod({ metadata, spec, status }: Fields): Fields {
  const annotations = pick(fields(metadata)["annotations"], NETWORK_STATUS, MIRRORED);
  return {
    metadata: {
      ...pick(metadata, "name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp"),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    spec: {
      ...pick(spec, "nodeName", "serviceAccountName", "serviceAccount", "hostNetwork"),
      ...(fields(spec)["hostNetwork"] === true ? trimContainers(fields(spec)) : {}),
    },
    status: pick(status, "phase", "podIP", "podIPs", "hostIP", "hostIPs"),
  };
}

/** Only of pods on the host's network: what their containers may do there. */
function trimContainers(spec: Fields): Fields {
  const trimmed = CONTAINERS.flatMap((kind) => {
    const containers = spec[kind];
    if (!Array.isArray(containers)) return [];
    const security = (one: unknown): Fields => pick(fields(one)["securityContext"], "privileged", "capabilities");
    return [[kind, containers.map((one: unknown) => ({ securityContext: security(one) }))] as const];
  });
  return Object.fromEntries(trimmed);
}

function trimNamespace({ metadata }: Fields): Fields {
  return { metadata: pick(metadata, "name", "labels") };
}

function trimDocument({ metadata, spec }: Fields): Fields {
  return { metadata: pick(metadata, "name", "namespace", "uid", "generation"), spec };
}

function trimNode({ spec, status }: Fields): Fields {
  return { spec: pick(spec, "podCIDR", "podCIDRs"), status: pick(status, "addresses") };
}

/** Names of targets and topology change nothing. */
function trimSlice({ endpoints, ports }: Fields): Fields {
  const all = Array.isArray(endpoints) ? endpoints : [];
  return {
    endpoints: all.map((endpoint) => pick(endpoint, "addresses")),
    ports: Array.isArray(ports) ? ports.map((port) => pick(port, "port", "protocol")) : [],
  };
}
