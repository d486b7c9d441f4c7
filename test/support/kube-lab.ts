import { join } from "node:path";
import { CLUSTER_RANGES, SERVICES } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import { DNS_POD, type PodLayout, type PodSpec } from "../../src/lab/layout.ts";
import { AgentLab } from "./agent-lab.ts";
import { RealApiServer } from "./real-api-server.ts";

const SOURCES = join(import.meta.dirname, "../../src/cli/main.ts");
const CRDS = join(import.meta.dirname, "../../deploy/crds");
const API = "sallyport.dev/v1alpha1";

/** A lab whose node's agent watches a real API server, in which the lab's pods stand as objects. */
export class KubeLab {
  readonly world: AgentLab;
  readonly api: RealApiServer;
  readonly kubeconfig: string;

  private constructor(world: AgentLab, api: RealApiServer) {
    this.world = world;
    this.api = api;
    this.kubeconfig = join(world.lab.directory, "agent.kubeconfig");
  }

  static async up(name: string, pods: readonly PodSpec[]): Promise<KubeLab> {
    const world = await AgentLab.up(name, { policies: {}, pods });
    try {
      const kube = new KubeLab(world, await RealApiServer.start(world.lab));
      await kube.#fill();
      return kube;
    } catch (error) {
      await world.down();
      throw error;
    }
  }

  async #fill(): Promise<void> {
    const { lab } = this.world;
    await this.api.must(["apply", "--server-side", "-f", CRDS]);
    await this.api.must(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
    const node = lab.node(1);
    const { ipv4, ipv6 } = node.podRange;
    const dns = lab.pod(`${DNS_POD.namespace}/${DNS_POD.name}`);
    const labels = { "k8s-app": "kube-dns" };
    const slice = (family: "ipv4" | "ipv6") => ({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: `kube-dns-${family}`, namespace: "kube-system", labels },
      addressType: family === "ipv4" ? "IPv4" : "IPv6",
      endpoints: [{ addresses: [dns.address[family]] }],
      ports: [{ port: 53, protocol: "UDP" }],
    });
    const namespaces = new Set(["sallyport", ...lab.layout.pods.map(({ namespace }) => namespace)]);
    await this.api.apply(
      {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: node.name },
        spec: { podCIDR: ipv4, podCIDRs: [ipv4, ipv6] },
      },
      ...[...namespaces].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "kube-dns", namespace: "kube-system", labels },
        spec: {
          clusterIP: SERVICES.dns.ipv4,
          clusterIPs: [SERVICES.dns.ipv4, SERVICES.dns.ipv6],
          ipFamilyPolicy: "RequireDualStack",
          ports: [{ port: 53, protocol: "UDP" }],
        },
      },
      slice("ipv4"),
      slice("ipv6"),
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "sallyport-ranges", namespace: "sallyport" },
        data: { podCIDRs: CLUSTER_RANGES.slice(0, 2).join("\n") },
      },
    );
    for (const pod of lab.layout.pods.filter(({ listed }) => listed)) await this.register(pod);
    await this.#account();
  }

  /** An account that may do what an agent has to, and no more. */
  async #account(): Promise<void> {
    const watch = ["get", "list", "watch"];
    const subject = { kind: "ServiceAccount", name: "agent", namespace: "kube-system" };
    await this.api.apply(
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "agent", namespace: "kube-system" } },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name: "agent" },
        rules: [
          {
            apiGroups: ["sallyport.dev"],
            resources: ["clusteregresspolicies", "egresspolicies", "destinationgroups", "agentconfigs"],
            verbs: watch,
          },
          { apiGroups: [""], resources: ["pods", "namespaces", "nodes", "services"], verbs: watch },
          { apiGroups: [""], resources: ["configmaps"], resourceNames: ["sallyport-ranges"], verbs: watch },
          { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: watch },
          { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: watch },
          {
            apiGroups: ["sallyport.dev"],
            resources: ["egressnodestatuses", "egressnodestatuses/status"],
            verbs: ["get", "create", "update", "patch"],
          },
        ],
      },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name: "agent" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "agent" },
        subjects: [subject],
      },
    );
    const token = await this.api.must(["create", "token", "agent", "-n", "kube-system"]);
    this.api.writeKubeconfig(this.kubeconfig, token.trim());
  }

  /** Makes the Pod object of a pod of the lab, as scheduler and kubelet would in the end. */
  async register({ namespace, name, labels, address, node }: PodLayout): Promise<void> {
    const { name: nodeName, address: host } = this.world.lab.node(node);
    const spec = { nodeName, containers: [{ name: "main", image: "registry.example/lab:1" }] };
    await this.api.apply({ apiVersion: "v1", kind: "Pod", metadata: { namespace, name, labels }, spec });
    const status = {
      phase: "Running",
      podIP: address.ipv4,
      podIPs: [{ ip: address.ipv4 }, { ip: address.ipv6 }],
      hostIP: host.ipv4,
      hostIPs: [{ ip: host.ipv4 }, { ip: host.ipv6 }],
    };
    const patch = ["patch", "pod", name, "-n", namespace, "--subresource=status", "-p", JSON.stringify({ status })];
    await this.api.must(patch);
  }

  async unregister({ namespace, name }: PodLayout): Promise<void> {
    await this.api.must(["delete", "pod", name, "-n", namespace, "--grace-period=0", "--force"]);
  }

  /** Takes the schema off a kind, as a later version of it might be: the API server stores what an agent cannot read. */
  async acceptAnything(resource: string): Promise<void> {
    const name = `${resource}.sallyport.dev`;
    const crd = JSON.parse(await this.api.must(["get", "crd", name, "-o", "json"]));
    const schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    const value = [{ ...crd.spec.versions[0], schema: { openAPIV3Schema: schema } }];
    const patch = JSON.stringify([{ op: "replace", path: "/spec/versions", value }]);
    await this.api.must(["patch", "crd", name, "--type=json", "-p", patch]);
    // The new schema is served in a moment.
    const probe = clusterPolicy("probe", { any: "thing" });
    for (let i = 0; i < 50; i++) {
      const { status } = await this.api.kubectl(
        ["apply", "--server-side", "--dry-run=server", "-f", "-"],
        JSON.stringify(probe),
      );
      if (status === 0) return;
    }
    throw new Error(`${name} still refuses`);
  }

  /** `command`: how the agent is started; from the sources unless given. */
  async start(
    more: readonly string[] = [],
    command: readonly string[] = [process.execPath, SOURCES],
  ): Promise<AgentProcess> {
    this.world.agent = await AgentProcess.start(this.world.lab, {
      node: 1,
      command,
      kube: this.kubeconfig,
      flows: this.world.flows,
      more,
      readyTimeoutMs: 60_000,
    });
    return this.world.agent;
  }

  down(): Promise<void> {
    return this.world.down();
  }
}

/** A policy of the whole cluster. */
export function clusterPolicy(name: string, spec: object): object {
  return { apiVersion: API, kind: "ClusterEgressPolicy", metadata: { name }, spec };
}
