import type { Programs } from "./builds.ts";
import type { Certificates } from "./certificates.ts";
import { PODS, SERVICE_RANGE } from "./network.ts";

/** Where the parts of one control plane are. */
export interface ControlPlane {
  readonly programs: Programs;
  readonly certificates: Certificates;
  /** Data of etcd. */
  readonly data: string;
  /** Folder of the kubeconfigs, one a component. */
  readonly kubeconfigs: string;
  /** Address the API server listens on and tells its clients. */
  readonly address: string;
  readonly ports: { readonly api: number; readonly etcd: number; readonly etcdPeer: number };
  /** False for a bare API server: it then does not list itself as endpoint, which loopback cannot be. */
  readonly listed: boolean;
}

export const POD_RANGES = `${PODS.ipv4},${PODS.ipv6}`;
const SERVICE_RANGES = `${SERVICE_RANGE.ipv4},${SERVICE_RANGE.ipv6}`;

export function etcdArguments(plane: ControlPlane): string[] {
  const { ports } = plane;
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    plane.programs.etcd,
    ...["--name=test", `--data-dir=${plane.data}`, "--log-level=warn"],
    ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
    ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=test=${peer}`],
    // Nothing here has to survive a power cut.
    "--unsafe-no-fsync",
    "--quota-backend-bytes=8589934592",
  ];
}

export function apiServerArguments(plane: ControlPlane): string[] {
  const { certificates: tls, ports } = plane;
  return [
    plane.programs["kube-apiserver"],
    `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
    ...[`--secure-port=${ports.api}`, `--bind-address=${plane.listed ? "::" : plane.address}`],
    ...[`--advertise-address=${plane.address}`, ...(plane.listed ? [] : ["--endpoint-reconciler-type=none"])],
    ...[`--tls-cert-file=${tls.pem("apiserver")}`, `--tls-private-key-file=${tls.key("apiserver")}`],
    `--client-ca-file=${tls.pem("ca")}`,
    `--kubelet-certificate-authority=${tls.pem("ca")}`,
    `--kubelet-client-certificate=${tls.pem("apiserver-kubelet")}`,
    `--kubelet-client-key=${tls.key("apiserver-kubelet")}`,
    "--kubelet-preferred-address-types=InternalIP",
    `--requestheader-client-ca-file=${tls.pem("front-proxy-ca")}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    ...[`--proxy-client-cert-file=${tls.pem("front-proxy")}`, `--proxy-client-key-file=${tls.key("front-proxy")}`],
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${tls.pem("service-account")}`,
    `--service-account-signing-key-file=${tls.key("service-account")}`,
    `--service-cluster-ip-range=${SERVICE_RANGES}`,
    ...["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"],
    "--profiling=false",
  ];
}

export function controllerManagerArguments(plane: ControlPlane): string[] {
  const { certificates: tls } = plane;
  const kubeconfig = `${plane.kubeconfigs}/controller-manager.kubeconfig`;
  return [
    plane.programs["kube-controller-manager"],
    ...[`--kubeconfig=${kubeconfig}`, `--authentication-kubeconfig=${kubeconfig}`],
    ...[`--authorization-kubeconfig=${kubeconfig}`, "--bind-address=127.0.0.1", "--leader-elect=false"],
    ...[`--root-ca-file=${tls.pem("ca")}`, `--service-account-private-key-file=${tls.key("service-account")}`],
    ...[`--cluster-signing-cert-file=${tls.pem("ca")}`, `--cluster-signing-key-file=${tls.key("ca")}`],
    ...["--use-service-account-credentials=true", `--service-cluster-ip-range=${SERVICE_RANGES}`],
    ...["--allocate-node-cidrs=true", `--cluster-cidr=${POD_RANGES}`],
    ...["--node-cidr-mask-size-ipv4=24", "--node-cidr-mask-size-ipv6=64", "--profiling=false"],
    // Enough for a test that makes hundreds of pods at once.
    ...["--kube-api-qps=200", "--kube-api-burst=400"],
  ];
}

export function schedulerArguments(plane: ControlPlane): string[] {
  const kubeconfig = `${plane.kubeconfigs}/scheduler.kubeconfig`;
  return [
    plane.programs["kube-scheduler"],
    ...[`--kubeconfig=${kubeconfig}`, `--authentication-kubeconfig=${kubeconfig}`],
    ...[`--authorization-kubeconfig=${kubeconfig}`, "--bind-address=127.0.0.1", "--leader-elect=false"],
    ...["--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false"],
  ];
}
