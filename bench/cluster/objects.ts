/** Every object of a large cluster, in the order in which they can be made. */
import { NAMESPACES, OWN_NAMESPACES, PODS, POLICIES_EACH, policiesOf } from "../scale-objects.ts";

export interface ClusterSize {
  readonly nodes: number;
  readonly pods: number;
  readonly namespaces: number;
}

/** What the API server is asked to make. */
export interface Creation {
  /** Of the collection. */
  readonly path: string;
  readonly object: Manifest;
  /** Written to the status subresource afterwards. */
  readonly status?: object;
}

export interface Manifest {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid?: string };
  readonly [field: string]: unknown;
}

const KINDS = "/apis/sallyport.dev/v1alpha1";
/** The node of the lab. */
const OWN_NODE = "node1";
/** Policies of the security team, for every pod of the cluster. */
export const CLUSTER_POLICIES = ["metadata-service", "mail", "name-servers"];

/** With policies: `team-0` and on; the others have none. */
export function namespaceName(index: number): string {
  return index < NAMESPACES ? `team-${index}` : `empty-${index}`;
}

/** `node-2` and on: the first is the lab's. */
export function nodeName(index: number): string {
  return index === 0 ? OWN_NODE : `node-${index + 1}`;
}

export function* namespaces({ namespaces: count }: ClusterSize): Generator<Creation> {
  for (let i = 0; i < count; i++) {
    const labels = { "pod-security.kubernetes.io/enforce": "baseline", team: `t${i % 97}` };
    yield {
      path: "/api/v1/namespaces",
      object: { apiVersion: "v1", kind: "Namespace", metadata: { name: namespaceName(i), labels } as never },
    };
  }
}

export function* policies(): Generator<Creation> {
  for (const [priority, name] of CLUSTER_POLICIES.entries()) yield clusterPolicy(name, priority);
  for (let i = 0; i < NAMESPACES; i++) {
    for (const object of policiesOf(i)) {
      yield { path: `${KINDS}/namespaces/team-${i}/egresspolicies`, object: object as Manifest };
    }
  }
}

export function clusterPolicy(name: string, priority: number, port = 25): Creation {
  const rules = [
    { name: "never", action: "Deny", to: [{ cidrs: ["198.51.100.250/32"], ports: [{ protocol: "TCP", port }] }] },
  ];
  const spec = { tier: "Admin", priority: 10 + priority, defaultDeny: false, subject: {}, rules };
  return {
    path: `${KINDS}/clusteregresspolicies`,
    object: { apiVersion: "sallyport.dev/v1alpha1", kind: "ClusterEgressPolicy", metadata: { name }, spec },
  };
}

/** All but the lab's own. */
export function* nodes({ nodes: count }: ClusterSize): Generator<Creation> {
  for (let i = 1; i < count; i++) {
    const range = `10.${128 + (i >> 8)}.${i & 255}.0/24`;
    yield {
      path: "/api/v1/nodes",
      object: {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: nodeName(i), labels: { "kubernetes.io/os": "linux" } } as never,
        spec: { podCIDR: range, podCIDRs: [range] },
      },
    };
  }
}

/** 109 of the lab's node, which are only on paper, then those of the others. */
export function* pods(size: ClusterSize): Generator<Creation> {
  for (let i = 0; i < PODS - 1; i++) {
    const podIPs = [{ ip: `10.244.1.${100 + i}` }, { ip: `fd00:244:1::${100 + i}` }];
    const status = { phase: "Running", podIP: podIPs[0]!.ip, podIPs };
    yield { ...pod(`team-${i % OWN_NAMESPACES}`, `own-${i}`, i, 0), status };
  }
  for (let i = 0; i < size.pods - PODS; i++) {
    const { node, namespace } = placeOf(i, size);
    yield pod(namespaceName(namespace), `app-${i}`, i, node);
  }
}

/** Half of them where there are policies; the pods of one namespace lie on many nodes. */
export function placeOf(index: number, size: ClusterSize): { readonly node: number; readonly namespace: number } {
  const others = size.namespaces - NAMESPACES;
  const namespace =
    index % 2 === 0 || others <= 0 ? (index * 7919) % NAMESPACES : NAMESPACES + ((index * 7919) % others);
  return { node: 1 + Math.floor((index * (size.nodes - 1)) / size.pods), namespace };
}

export function pod(namespace: string, name: string, index: number, node: number): Creation {
  const labels = {
    app: `app-${(index >> 1) % 4}`,
    "app.kubernetes.io/name": `service-${index % 40}`,
    "app.kubernetes.io/instance": `service-${index % 40}-prod`,
    "pod-template-hash": (index * 2654435761).toString(36).slice(0, 10),
  };
  const resources = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } };
  const env = Array.from({ length: 8 }, (_, i) => ({ name: `SETTING_${i}`, value: `value-${i}-of-service` }));
  const containers = [{ name: "main", image: "registry.example/team/service:1.2.3", env, resources }];
  return {
    path: `/api/v1/namespaces/${namespace}/pods`,
    object: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels } as never,
      spec: { nodeName: nodeName(node), serviceAccountName: "default", containers },
    },
  };
}

/** Identity and generation of an object as the API server has it. */
export interface Stored {
  readonly kind: "EgressPolicy" | "ClusterEgressPolicy";
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
}

/** What the agents of all other nodes say: each of the policies that select one of its pods. `find`: a stored policy by its key. */
export function* nodeStatuses(size: ClusterSize, find: (key: string) => Stored): Generator<Creation> {
  const selected = new Map<number, Map<string, number>>();
  for (let i = 0; i < size.pods - PODS; i++) {
    const { node, namespace } = placeOf(i, size);
    if (namespace >= NAMESPACES) continue;
    const of = selected.get(node) ?? new Map<string, number>();
    selected.set(node, of);
    for (let p = (i >> 1) % 4; p < POLICIES_EACH; p += 4) {
      const key = `team-${namespace}/app-${p}`;
      of.set(key, (of.get(key) ?? 0) + 1);
    }
  }
  const each = Math.floor(size.pods / size.nodes);
  for (let i = 1; i < size.nodes; i++) {
    const wide = CLUSTER_POLICIES.map((name) => entry(find(name), each));
    const own = [...(selected.get(i) ?? [])].map(([key, count]) => entry(find(key), count));
    yield {
      path: `${KINDS}/egressnodestatuses`,
      object: { apiVersion: "sallyport.dev/v1alpha1", kind: "EgressNodeStatus", metadata: { name: nodeName(i) } },
      status: { agentVersion: "0.0.0", observedAt: new Date().toISOString(), ready: true, policies: [...wide, ...own] },
    };
  }
}

function entry(stored: Stored, selectedPods: number): object {
  return { ...stored, programmed: true, selectedPods };
}
