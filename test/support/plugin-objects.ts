import type { StubCluster } from "./stub-cluster.ts";

export const GROUP = "/apis/sallyport.dev/v1alpha1";

export function podOf(namespace: string, name: string, choice: Record<string, unknown> = {}): object {
  const { labels = {}, node = "n1", phase = "Running", hostNetwork = false, ip = "10.0.0.9", ...status } = choice;
  return {
    metadata: { name, namespace, uid: `uid-${namespace}-${name}`, labels },
    spec: { ...(node === null ? {} : { nodeName: node }), hostNetwork },
    status: { phase, ...(ip === null ? {} : { podIP: ip }), ...status },
  };
}

export function agentOf(
  node: string,
  choice: { readonly ready?: boolean; readonly flows?: string | null } = {},
): object {
  const { ready = true, flows = "-" } = choice;
  return {
    metadata: { name: `agent-${node}`, namespace: "sallyport", uid: `uid-agent-${node}` },
    spec: {
      nodeName: node,
      hostNetwork: true,
      containers: [{ name: "agent", args: flows === null ? [] : [`--flows=${flows}`] }],
    },
    status: { phase: "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  };
}

export function policyOf(name: string, spec: object, choice: { generation?: number; status?: object } = {}): object {
  const { generation = 1, status = statusOf(generation) } = choice;
  return {
    metadata: { name, uid: `uid-${name}`, generation },
    spec: { tier: "Admin", priority: 10, defaultDeny: true, rules: [], ...spec },
    status,
  };
}

/** As the controller writes it. */
export function statusOf(generation: number, programmed = "True", message = "1/1 nodes"): object {
  return {
    observedGeneration: generation,
    conditions: [
      { type: "Accepted", status: "True", reason: "Valid", message: "can be used" },
      { type: "Programmed", status: programmed, reason: programmed === "True" ? "Programmed" : "Pending", message },
    ],
  };
}

export function reportOf(node: string, policies: readonly object[], more: object = {}): object {
  const status = {
    agentVersion: "0.1.0",
    observedAt: new Date(Date.now() - 65_000).toISOString(),
    ready: true,
    policies: policies.map((policy) => ({
      kind: "ClusterEgressPolicy",
      programmed: true,
      generation: 1,
      selectedPods: 1,
      ...policy,
    })),
    notEnforced: [],
    notEnforcedPods: 0,
    ...more,
  };
  return { metadata: { name: node, uid: `uid-${node}` }, status };
}

/** One node, two pods in `ns`, a policy that isolates `app` and lets it reach `*.example.com`. */
export function serveSmallCluster({ paths }: StubCluster): void {
  const policy = policyOf("app", {
    subject: { podSelector: { matchLabels: { app: "app" } } },
    rules: [{ name: "example", action: "Allow", to: [{ domains: ["*.example.com"] }] }],
  });
  const [app, free] = [podOf("ns", "app", { labels: { app: "app" } }), podOf("ns", "free", { ip: "10.0.0.10" })];
  const report = reportOf("n1", [{ name: "app", uid: "uid-app" }]);
  const namespace = (name: string) => ({ metadata: { name, uid: `uid-${name}`, labels: {} } });
  const node = {
    metadata: { name: "n1", uid: "uid-node", labels: { "kubernetes.io/os": "linux" } },
    spec: { podCIDRs: ["10.0.0.0/24"] },
  };
  const served: readonly (readonly [string, Parameters<typeof paths.set>[1]])[] = [
    [`${GROUP}/clusteregresspolicies`, { items: [policy] }],
    [`${GROUP}/egresspolicies`, { items: [] }],
    [`${GROUP}/namespaces/ns/egresspolicies`, { items: [] }],
    [`${GROUP}/destinationgroups`, { items: [] }],
    [`${GROUP}/agentconfigs`, { items: [] }],
    [`${GROUP}/egressnodestatuses`, { items: [report] }],
    [`${GROUP}/egressnodestatuses/n1`, report],
    ["/api/v1/namespaces/ns/pods", { items: [app, free] }],
    ["/api/v1/pods", { items: [app, free] }],
    ["/api/v1/namespaces/ns/pods/app", app],
    ["/api/v1/namespaces/ns/pods/free", free],
    ["/api/v1/namespaces/ns", namespace("ns")],
    ["/api/v1/namespaces", { items: [namespace("ns")] }],
    ["/api/v1/nodes", { items: [node] }],
    ["/api/v1/namespaces/sallyport/pods", { items: [agentOf("n1")] }],
    [
      "/apis/coordination.k8s.io/v1/namespaces/sallyport/leases/sallyport-controller",
      { spec: { holderIdentity: "c1", renewTime: new Date().toISOString() } },
    ],
  ];
  for (const [path, what] of served) paths.set(path, what);
}
