import { type AddressPair, MAX_NODES, nodeAddress, podAddress, podRange } from "./addresses.ts";
import { checkLabName, checkPodName, nodeNetns, podNetns, stableUid } from "./names.ts";

export interface PodSpec {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  /** Counts from 1; default: in turn. */
  readonly node?: number;
}

export interface LabSpec {
  readonly name: string;
  readonly nodes: number;
  readonly pods: readonly PodSpec[];
  /** Labels of namespaces; each also gets `kubernetes.io/metadata.name`. */
  readonly namespaces?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Nodes hide pod addresses behind their own, as real clusters do. Default true. */
  readonly masquerade?: boolean;
}

export interface NodeLayout {
  readonly index: number;
  readonly name: string;
  readonly netns: string;
  readonly address: AddressPair;
  readonly podRange: { readonly ipv4: string; readonly ipv6: string; readonly gateway: AddressPair };
}

export interface PodLayout {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly node: number;
  readonly netns: string;
  /** The node's end of the pod's link. */
  readonly link: string;
  readonly address: AddressPair;
  readonly host: number;
  /** False: the pod runs but the workloads file does not name it (yet). */
  readonly listed: boolean;
}

export interface Layout {
  readonly name: string;
  readonly masquerade: boolean;
  readonly nodes: readonly NodeLayout[];
  readonly pods: readonly PodLayout[];
  readonly namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** How many pods were ever made: numbers links and UIDs. */
  readonly podsMade: number;
}

export const DNS_POD = { namespace: "kube-system", name: "dns" } as const;
export const WEB_POD = { namespace: "inside-ns", name: "web" } as const;

const FIRST_HOST = 10;
const LAST_HOST = 250;

/** Adds one pod. `host` asks for an address that is free, for example one that another pod had before. */
export function withPod(
  layout: Layout,
  spec: PodSpec,
  options: { readonly host?: number; readonly listed?: boolean } = {},
): { layout: Layout; pod: PodLayout } {
  checkPodName(spec.namespace, spec.name);
  const node = spec.node ?? (layout.podsMade % layout.nodes.length) + 1;
  if (!layout.nodes.some((other) => other.index === node)) {
    throw new Error(`pod \`${spec.namespace}/${spec.name}\` asks for node ${node}: the lab has ${layout.nodes.length}`);
  }
  const netns = podNetns(layout.name, spec.namespace, spec.name);
  if (layout.pods.some((other) => other.netns === netns)) {
    throw new Error(`pod \`${spec.namespace}/${spec.name}\` would share the network namespace \`${netns}\`: rename it`);
  }
  const taken = new Set(layout.pods.filter((other) => other.node === node).map((other) => other.host));
  const host = options.host ?? freeHost(taken);
  if (taken.has(host) || host < FIRST_HOST || host > LAST_HOST) {
    throw new Error(`host number ${host} is not free on node ${node}: use another of ${FIRST_HOST} to ${LAST_HOST}`);
  }
  const number = layout.podsMade + 1;
  const pod: PodLayout = {
    namespace: spec.namespace,
    name: spec.name,
    uid: stableUid(layout.name, spec.namespace, spec.name, String(number)),
    labels: { ...spec.labels },
    serviceAccount: spec.serviceAccount ?? "default",
    node,
    netns,
    link: `pod${number}`,
    address: podAddress(node, host),
    host,
    listed: options.listed ?? true,
  };
  const namespaces = { ...layout.namespaces, [spec.namespace]: layout.namespaces[spec.namespace] ?? {} };
  return { pod, layout: { ...layout, namespaces, pods: [...layout.pods, pod], podsMade: number } };
}

function freeHost(taken: ReadonlySet<number>): number {
  let host = FIRST_HOST;
  while (taken.has(host)) host += 1;
  return host;
}

/**
 * The whole lab on paper: names and addresses of nodes and pods. The resolver pod `kube-system/dns` and the inside
 * server `inside-ns/web` are always there. @throws Error one line for the user
 */
export function layoutOf(spec: LabSpec): Layout {
  const name = checkLabName(spec.name);
  if (!Number.isInteger(spec.nodes) || spec.nodes < 1 || spec.nodes > MAX_NODES) {
    throw new Error(`a lab of ${spec.nodes} nodes is not possible: ask for 1 to ${MAX_NODES}`);
  }
  let layout: Layout = {
    name,
    masquerade: spec.masquerade ?? true,
    nodes: Array.from({ length: spec.nodes }, (_, at) => ({
      index: at + 1,
      name: `node${at + 1}`,
      netns: nodeNetns(name, at + 1),
      address: nodeAddress(at + 1),
      podRange: podRange(at + 1),
    })),
    pods: [],
    namespaces: { default: {}, ...spec.namespaces },
    podsMade: 0,
  };
  const system: PodSpec[] = [
    { ...DNS_POD, labels: { "k8s-app": "kube-dns" }, serviceAccount: "dns", node: 1 },
    { ...WEB_POD, labels: { app: "web" }, node: spec.nodes },
  ];
  const given = (pod: PodSpec) =>
    spec.pods.find((other) => other.namespace === pod.namespace && other.name === pod.name);
  const others = spec.pods.filter(
    (pod) => !system.some((one) => one.namespace === pod.namespace && one.name === pod.name),
  );
  for (const pod of [...system.map((one) => ({ ...one, ...given(one) })), ...others]) {
    layout = withPod(layout, pod).layout;
  }
  return layout;
}

/** The pod `NAMESPACE/NAME`. @throws Error one line for the user */
export function podOf(layout: Layout, target: string): PodLayout {
  const pod = layout.pods.find((other) => `${other.namespace}/${other.name}` === target);
  if (pod === undefined) {
    throw new Error(`lab \`${layout.name}\` has no pod \`${target}\`: \`sallyport lab status\` lists them`);
  }
  return pod;
}
