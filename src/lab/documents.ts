import { stringify } from "yaml";
import { CLUSTER_DOMAIN, CLUSTER_RANGES, SERVICES } from "./addresses.ts";
import { DNS_POD, type Layout, type NodeLayout, type PodLayout, podOf } from "./layout.ts";
import { stableUid } from "./names.ts";

/** Kubernetes prints keys in order, and quotes what only looks like a number. */
const KUBECTL = { sortMapEntries: true, lineWidth: 0, indentSeq: false } as const;
const CREATED = "2026-01-01T00:00:00Z";

/** The lab's pods and namespaces as `kubectl get pods,namespaces -A -o yaml` prints them. */
export function workloadsText(layout: Layout, resourceVersion: number): string {
  const names = Object.keys(layout.namespaces).sort();
  const items = [
    ...layout.pods.filter((pod) => pod.listed).map((pod) => podDocument(layout, pod, resourceVersion)),
    ...names.map((name) => namespaceDocument(layout, name)),
  ];
  return stringify({ apiVersion: "v1", items, kind: "List", metadata: { resourceVersion: "" } }, KUBECTL);
}

function podDocument(layout: Layout, pod: PodLayout, resourceVersion: number): object {
  const node = layout.nodes.find((other) => other.index === pod.node);
  const { ipv4, ipv6 } = pod.address;
  const image = "registry.example/lab:1";
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      creationTimestamp: CREATED,
      ...(Object.keys(pod.labels).length === 0 ? {} : { labels: pod.labels }),
      name: pod.name,
      namespace: pod.namespace,
      resourceVersion: String(resourceVersion),
      uid: pod.uid,
    },
    spec: {
      containers: [{ image, imagePullPolicy: "IfNotPresent", name: "main", resources: {} }],
      dnsPolicy: "ClusterFirst",
      enableServiceLinks: true,
      nodeName: node?.name ?? "",
      restartPolicy: "Always",
      schedulerName: "default-scheduler",
      serviceAccount: pod.serviceAccount,
      serviceAccountName: pod.serviceAccount,
      terminationGracePeriodSeconds: 30,
    },
    status: {
      conditions: [{ lastProbeTime: null, lastTransitionTime: CREATED, status: "True", type: "Ready" }],
      containerStatuses: [{ image, name: "main", ready: true, restartCount: 0, started: true }],
      hostIP: node?.address.ipv4 ?? "",
      hostIPs: node === undefined ? [] : [{ ip: node.address.ipv4 }, { ip: node.address.ipv6 }],
      phase: "Running",
      podIP: ipv4,
      podIPs: [{ ip: ipv4 }, { ip: ipv6 }],
      qosClass: "BestEffort",
      startTime: CREATED,
    },
  };
}

function namespaceDocument(layout: Layout, name: string): object {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      creationTimestamp: CREATED,
      labels: { ...layout.namespaces[name], "kubernetes.io/metadata.name": name },
      name,
      resourceVersion: "1",
      uid: stableUid(layout.name, "namespace", name),
    },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  };
}

/** Fields of `AgentConfig.spec` to add or replace. */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** The `AgentConfig` document for the agent of one node. */
export function configText(layout: Layout, node: NodeLayout, overrides: ConfigOverrides = {}): string {
  const resolver = podOf(layout, `${DNS_POD.namespace}/${DNS_POD.name}`).address;
  return stringify({
    apiVersion: "sallyport.dev/v1alpha1",
    kind: "AgentConfig",
    metadata: { name: "default" },
    spec: {
      resolvers: [SERVICES.dns.ipv4, SERVICES.dns.ipv6, resolver.ipv4, resolver.ipv6],
      clusterCIDRs: [...CLUSTER_RANGES],
      podCIDRs: [node.podRange.ipv4, node.podRange.ipv6],
      clusterDomain: CLUSTER_DOMAIN,
      failMode: "Closed",
      existingFlows: "Adopt",
      ...overrides,
    },
  });
}
