import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { caBundle } from "../../src/lab/certificates.ts";
import { buildPrograms, type Programs } from "./builds.ts";
import { type Certificates, makeCertificates, writeKubeconfig } from "./certificates.ts";
import { Cluster } from "./cluster.ts";
import { removeCluster } from "./cluster-down.ts";
import { clusterReport } from "./cluster-report.ts";
import { saveState } from "./cluster-state.ts";
import { type Component, type ReadyProbe, waitReady } from "./components.ts";
import { controlGroupsFor, makeControlGroups } from "./control-groups.ts";
import {
  apiServerArguments,
  type ControlPlane,
  controllerManagerArguments,
  etcdArguments,
  schedulerArguments,
} from "./control-plane.ts";
import { dnsManifests } from "./dns-manifests.ts";
import type { Image } from "./image.ts";
import { standardImages } from "./images.ts";
import { onMachine, startMachine } from "./machine.ts";
import { joinOutside, makeNodeNetns, NODE, nodeNetns } from "./network.ts";
import { kubeletArguments, nodeFiles, proxyArguments, runtimeClasses } from "./node-config.ts";
import { cacheDirectory, placeOf } from "./places.ts";
import { missingRequirement } from "./requirements.ts";

export interface UpOptions {
  /** More images for the node, besides the standard ones. */
  readonly images?: readonly Image[];
  /** One line a step, with its seconds. */
  readonly report?: (line: string) => void;
}

const API_PORT = 6443;
const READY_MS = 60_000;

/**
 * Starts a cluster of one node, ready for pods. One of the same name is taken down first.
 * @throws Error what is wrong, and how all stood; what was started is removed, its logs too unless `SALLYPORT_KEEP` is set
 */
export async function createCluster(name: string, options: UpOptions = {}): Promise<Cluster> {
  const missing = await missingRequirement();
  if (missing !== null) throw new Error(missing);
  const step = stopwatch(options.report);
  const programs = await buildPrograms(undefined, options);
  step("programs");
  await removeCluster(name);
  try {
    return await build(name, programs, options, step);
  } catch (error) {
    const half = await Cluster.open(name).catch(() => null);
    const report = half === null ? "" : `\n${await clusterReport(half)}`;
    if (process.env.SALLYPORT_KEEP === undefined) await removeCluster(name);
    throw new Error(`cluster \`${name}\` does not come up: ${(error as Error).message}${report}`);
  }
}

type Step = (what: string) => void;

async function build(name: string, programs: Programs, options: UpOptions, step: Step): Promise<Cluster> {
  const { cluster, tls } = await prepare(name, programs);
  step("certificates, network, machine");
  const plane = controlPlane(cluster, programs, tls);
  // These three do not need each other.
  const [lab] = await Promise.all([joinOutside(name), startRuntime(cluster, programs), startApi(cluster, plane)]);
  step("outside, containerd, etcd, kube-apiserver");
  const images = [
    ...(await standardImages(programs, await readFile(caBundle(lab.directory)))),
    ...(options.images ?? []),
  ];
  const imported = Promise.all(images.map((image) => cluster.importImage(image)));
  const [kubelet] = await Promise.all([startNode(cluster, programs, plane), imported]);
  step("controllers, scheduler, kubelet, kube-proxy, images");
  await until(cluster, kubelet, ["wait", "--for=condition=Ready", `node/${NODE.name}`, "--timeout=2s"]);
  step("node ready");
  const available = ["wait", "--for=condition=Available", "deployment/coredns", "--timeout=2s"];
  await until(cluster, kubelet, ["--namespace", "kube-system", ...available]);
  step("cluster DNS ready");
  return cluster;
}

async function prepare(name: string, programs: Programs): Promise<{ cluster: Cluster; tls: Certificates }> {
  const directory = placeOf(name);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const controlGroups = await controlGroupsFor(`sallyport-${name}`);
  const state = { name, kubectl: programs.kubectl, ctr: programs.ctr, controlGroups, machine: null, components: [] };
  await saveState(state);
  await makeControlGroups(controlGroups);
  const addresses = Object.values(NODE.address);
  const [tls] = await Promise.all([
    makeCertificates(`${directory}/tls`, {
      apiServerAddresses: [...addresses, API_SERVICE],
      nodes: [{ name: NODE.name, addresses }],
    }),
    makeNodeNetns(name),
  ]);
  for (const [path, text] of Object.entries(nodeFiles(programs, tls, directory))) {
    await mkdir(dirname(`${directory}/${path}`), { recursive: true });
    await writeFile(`${directory}/${path}`, text);
  }
  for (const user of ["admin", "controller-manager", "scheduler", "proxy", `kubelet-${NODE.name}`]) {
    await writeKubeconfig(`${directory}/${user}.kubeconfig`, `https://127.0.0.1:${API_PORT}`, tls, user);
  }
  const machine = await startMachine({
    directory,
    netns: nodeNetns(name),
    hostname: NODE.name,
    programs: cacheDirectory(),
    controlGroups,
  });
  const complete = { ...state, machine };
  await saveState(complete);
  return { cluster: new Cluster(complete), tls };
}

/** The first address of the Service range: the Service `kubernetes`. */
const API_SERVICE = "10.96.0.1";

function controlPlane(cluster: Cluster, programs: Programs, tls: Certificates): ControlPlane {
  return {
    programs,
    certificates: tls,
    data: `${cluster.directory}/etcd`,
    kubeconfigs: cluster.directory,
    address: NODE.address.ipv4,
    ports: { api: API_PORT, etcd: 2379, etcdPeer: 2380 },
    listed: true,
  };
}

async function startApi(cluster: Cluster, plane: ControlPlane): Promise<void> {
  await cluster.start("etcd", etcdArguments(plane));
  const api = await cluster.start("kube-apiserver", apiServerArguments(plane));
  await until(cluster, api, ["get", "--raw", "/readyz"]);
}

async function startNode(cluster: Cluster, programs: Programs, plane: ControlPlane): Promise<Component> {
  await cluster.start("kube-controller-manager", controllerManagerArguments(plane));
  await cluster.start("kube-scheduler", schedulerArguments(plane));
  const kubelet = await cluster.start("kubelet", kubeletArguments(programs, cluster.directory));
  await cluster.start("kube-proxy", proxyArguments(programs, cluster.directory));
  await cluster.apply([...runtimeClasses(), ...dnsManifests()]);
  return kubelet;
}

async function startRuntime(cluster: Cluster, programs: Programs): Promise<void> {
  const config = `${cluster.directory}/containerd.toml`;
  // After a restart it looks for the shims of what runs on the PATH, whatever its configuration says.
  const path = `PATH=${dirname(programs["containerd-shim-runc-v2"])}:${process.env["PATH"] ?? ""}`;
  const runtime = await cluster.start("containerd", ["env", path, programs.containerd, "--config", config]);
  const ask = onMachine(cluster.machine, [programs.ctr, "version"]);
  await waitReady(runtime, { argv: ask, timeoutMs: READY_MS });
}

/** Waits until a kubectl command succeeds, as long as this component lives. */
async function until(cluster: Cluster, component: Component, words: readonly string[]): Promise<void> {
  const probe: ReadyProbe = { argv: cluster.kubectlArguments(words), timeoutMs: READY_MS };
  await waitReady(component, probe);
}

function stopwatch(report: UpOptions["report"]): Step {
  let last = performance.now();
  return (what) => {
    const now = performance.now();
    report?.(`${((now - last) / 1000).toFixed(1)} s  ${what}`);
    last = now;
  };
}
