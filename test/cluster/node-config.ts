import { CLUSTER_DOMAIN, GATEWAY, OUTSIDE, SERVICES } from "../../src/lab/addresses.ts";
import type { Programs } from "./builds.ts";
import type { Certificates } from "./certificates.ts";
import { POD_RANGES } from "./control-plane.ts";
import { PAUSE_IMAGE } from "./images.ts";
import { NODE } from "./network.ts";

/** Where Debian's `containernetworking-plugins` puts its programs. */
export const CNI_PLUGINS = "/usr/lib/cni";
/** Networks that a pod can be put on, besides `ptp`: the name is that of a RuntimeClass. */
const OTHER_NETWORKS = ["bridge", "macvlan"] as const;
export type OtherNetwork = (typeof OTHER_NETWORKS)[number];
/** Folder of the manifests of static pods, on the node. */
export const STATIC_PODS = "/var/lib/kubelet/static";
const RUNTIME_SOCKET = "/run/containerd/containerd.sock";

/** Configuration files of the node's own servers, by path below the machine's folder. */
export function nodeFiles(programs: Programs, tls: Certificates, directory: string): Record<string, string> {
  return {
    "containerd.toml": containerdConfig(programs),
    ...Object.fromEntries(
      (["ptp", ...OTHER_NETWORKS] as const).map((name) => [
        `${networkDirectory(name).slice(1)}/10-${name}.conflist`,
        network(name),
      ]),
    ),
    "kubelet.json": JSON.stringify(kubeletConfig(tls), null, 1),
    "kube-proxy.json": JSON.stringify(proxyConfig(directory), null, 1),
    "etc/hosts": `127.0.0.1 localhost\n::1 localhost\n${NODE.address.ipv4} ${NODE.name}\n${NODE.address.ipv6} ${NODE.name}\n`,
    // The node's resolver, which CoreDNS and pods with `dnsPolicy: Default` ask: the outside's.
    "etc/resolv.conf": `nameserver ${OUTSIDE.dnsGoogle.ipv4}\nnameserver ${OUTSIDE.dnsGoogle.ipv6}\n`,
  };
}

function containerdConfig(programs: Programs): string {
  return `
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.healthcheck"]

[grpc]
address = "${RUNTIME_SOCKET}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "${PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
# Root may be without CAP_SYS_RESOURCE, and cannot shield a process from the out-of-memory killer then.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["${CNI_PLUGINS}"]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

${["runc", ...OTHER_NETWORKS].map((name) => runtimeConfig(programs, name)).join("\n")}`.trimStart();
}

/** A runtime differs from the others in its network only: a pod chooses by `runtimeClassName`. */
function runtimeConfig(programs: Programs, name: string): string {
  const table = `plugins."io.containerd.cri.v1.runtime".containerd.runtimes.${name}`;
  return `
[${table}]
runtime_type = "io.containerd.runc.v2"
runtime_path = "${programs["containerd-shim-runc-v2"]}"
${name === "runc" ? "" : `cni_conf_dir = "${networkDirectory(name)}"`}

[${table}.options]
BinaryName = "${programs.runc}"
SystemdCgroup = false
`.trim();
}

function networkDirectory(name: string): string {
  return name === "ptp" ? "/etc/cni/net.d" : `/etc/cni/${name}.d`;
}

/**
 * `ptp`: each pod on a link of its own, as the lab wires them. `bridge`: pods of a node on one switch. `macvlan`: pods on the node's own
 * segment, past the node's IP stack, where nothing on the node can enforce. Pods are hidden by one rule of the node (network.ts): the
 * plug-ins would run iptables some ten times a pod.
 */
function network(name: "ptp" | OtherNetwork): string {
  const kinds = {
    ptp: { type: "ptp", ipMasq: false },
    bridge: { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: false, hairpinMode: true },
    macvlan: { type: "macvlan", master: "eth0", mode: "bridge" },
  };
  const ranges = POD_ADDRESSES[name].map((range) => [range]);
  const routes = [{ dst: "0.0.0.0/0" }, ...(name === "macvlan" ? [] : [{ dst: "::/0" }])];
  // A tmpfs: addresses that were given out are forgotten with the machine.
  const ipam = { type: "host-local", dataDir: "/run/cni-ipam", ranges, routes };
  return JSON.stringify({ cniVersion: "1.0.0", name, plugins: [{ ...kinds[name], ipam }] }, null, 1);
}

/** The node's pod ranges, a part for each network: no address is given out twice. */
const POD_ADDRESSES = {
  ptp: [
    { subnet: NODE.pods.ipv4, rangeStart: "10.244.0.2", rangeEnd: "10.244.0.223" },
    { subnet: NODE.pods.ipv6, rangeStart: "fd00:244::2", rangeEnd: "fd00:244::ffff" },
  ],
  bridge: [
    { subnet: "10.244.0.224/28", gateway: "10.244.0.225" },
    { subnet: "fd00:244:0:0:b::/80", gateway: "fd00:244:0:0:b::1" },
  ],
  macvlan: [{ subnet: "192.0.2.0/24", rangeStart: "192.0.2.200", rangeEnd: "192.0.2.220", gateway: GATEWAY.ipv4 }],
} as const;

function kubeletConfig(tls: Certificates): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: tls.pem("ca") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: tls.pem(`kubelet-${NODE.name}-server`),
    tlsPrivateKeyFile: tls.key(`kubelet-${NODE.name}-server`),
    containerRuntimeEndpoint: `unix://${RUNTIME_SOCKET}`,
    staticPodPath: STATIC_PODS,
    fileCheckFrequency: "1s",
    cgroupDriver: "cgroupfs",
    cgroupRoot: "/",
    failCgroupV1: false,
    failSwapOn: false,
    clusterDomain: CLUSTER_DOMAIN,
    clusterDNS: [SERVICES.dns.ipv4],
    resolvConf: "/etc/resolv.conf",
    // The node's file system is the computer's own, with whatever else is on it.
    evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    // Room for 200 test pods besides the cluster's own.
    maxPods: 250,
    registryPullQPS: 0,
    serializeImagePulls: false,
    eventRecordQPS: 0,
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    syncFrequency: "10s",
    shutdownGracePeriod: "0s",
    enableServer: true,
    healthzBindAddress: "127.0.0.1",
  };
}

function proxyConfig(directory: string): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clusterCIDR: POD_RANGES,
    hostnameOverride: NODE.name,
    clientConnection: { kubeconfig: `${directory}/proxy.kubeconfig` },
    // Zero leaves conntrack's own settings alone: they are not this namespace's to change.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    nftables: { minSyncPeriod: "100ms" },
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
  };
}

export function kubeletArguments(programs: Programs, directory: string): string[] {
  return [
    programs.kubelet,
    `--config=${directory}/kubelet.json`,
    `--kubeconfig=${directory}/kubelet-${NODE.name}.kubeconfig`,
    `--hostname-override=${NODE.name}`,
    `--node-ip=${NODE.address.ipv4},${NODE.address.ipv6}`,
  ];
}

/** What a pod names in `runtimeClassName` to be on another network. */
export function runtimeClasses(): readonly object[] {
  return OTHER_NETWORKS.map((name) => ({
    apiVersion: "node.k8s.io/v1",
    kind: "RuntimeClass",
    metadata: { name },
    handler: name,
  }));
}

export function proxyArguments(programs: Programs, directory: string): string[] {
  return [programs["kube-proxy"], `--config=${directory}/kube-proxy.json`];
}
