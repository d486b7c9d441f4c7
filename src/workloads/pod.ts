import { type Address, parseAddress } from "../net/address.ts";

/** What is read of a core/v1 Pod. */
export interface Pod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly node: string | null;
  readonly addresses: readonly Address[];
  /** Of the node it runs on. */
  readonly hostAddresses: readonly Address[];
  readonly hostNetwork: boolean;
  /** Of the mirror of a static pod: the UID that the kubelet gave that one, if the annotation is to be believed; empty: of no such pod. */
  readonly staticUid: string;
  /** Some container of it may open raw sockets, or more: on the host's network it may send past every rule. */
  readonly raw: boolean;
  /** A container of it has been started. */
  readonly running: boolean;
  /** Succeeded or Failed: its address may already be another's. */
  readonly ended: boolean;
  /** Being deleted; it may still run. */
  readonly leaving: boolean;
  /** Its interfaces besides the one that its addresses are on, as Multus says: `net1 (team/lan)`. */
  readonly otherInterfaces: readonly string[];
}

export interface Namespace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export type Fields = Readonly<Record<string, unknown>>;

/** @returns the pod, or one line on what is wrong with the object */
export function readPod(object: Fields): Pod | string {
  const metadata = fields(object.metadata);
  const spec = fields(object.spec);
  const status = fields(object.status);
  const { name, namespace } = metadata;
  if (!isText(name) || !isText(namespace)) return "a Pod has no `metadata.name` or `metadata.namespace`: add them";
  const labels = readLabels(metadata);
  if (typeof labels === "string") return `Pod \`${namespace}/${name}\`: ${labels}`;
  const addresses = readAddresses(status.podIPs, status.podIP);
  if (typeof addresses === "string") return `Pod \`${namespace}/${name}\`: ${addresses}`;
  const hostAddresses = readAddresses(status.hostIPs, status.hostIP);
  if (typeof hostAddresses === "string") return `Pod \`${namespace}/${name}\`: ${hostAddresses}`;
  return {
    uid: text(metadata.uid),
    namespace,
    name,
    created: text(metadata.creationTimestamp),
    labels,
    serviceAccount: text(spec.serviceAccountName) || text(spec.serviceAccount) || "default",
    node: text(spec.nodeName) || null,
    addresses,
    hostAddresses,
    hostNetwork: spec.hostNetwork === true,
    staticUid: readStaticUid(fields(metadata.annotations)[MIRRORED]),
    raw: mayGoAround(spec),
    running: status.phase === "Running",
    ended: status.phase === "Succeeded" || status.phase === "Failed",
    leaving: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
    otherInterfaces: readOtherInterfaces(fields(metadata.annotations)[NETWORK_STATUS]),
  };
}

/**
 * What the kubelet writes into the object that mirrors a static pod: 32 hexadecimal digits of its manifest's hash. An API server lets nobody change it (or add
 * it) later; a manifest may also bear a UID of its author's choice, which is not read: it could be another pod's.
 */
export const MIRRORED = "kubernetes.io/config.mirror";

function readStaticUid(annotation: unknown): string {
  return typeof annotation === "string" && /^[0-9a-f]{32}$/.test(annotation) ? annotation : "";
}

/** Kubernetes Network Custom Resource Definition De-facto Standard 1.3, §4.1.4. */
export const NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status";
const LONGEST_STATUS = 64 * 1024;
const MOST_INTERFACES = 16;

/** Whoever may write the pod may write this: what cannot be read says nothing. */
function readOtherInterfaces(status: unknown): string[] {
  if (!isText(status) || status.length > LONGEST_STATUS) return [];
  let networks: unknown;
  try {
    networks = JSON.parse(status);
  } catch {
    return [];
  }
  if (!Array.isArray(networks)) return [];
  return networks.slice(0, MOST_INTERFACES).flatMap((network) => {
    const { name, interface: device, default: isDefault } = fields(network);
    if (isDefault === true || !isText(device) || device === "lo") return [];
    return [`${device} (${text(name)})`.slice(0, 128)];
  });
}

export const CONTAINERS = ["initContainers", "containers", "ephemeralContainers"] as const;
/** What each lets a container on the host's network do: write frames, change rules or control groups, enter another process. */
const RAW = ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "BPF", "ALL"];

/** A container has NET_RAW unless that is taken away. What cannot be read counts as having it. */
function mayGoAround(spec: Fields): boolean {
  const containers = CONTAINERS.flatMap((kind) => (Array.isArray(spec[kind]) ? (spec[kind] as unknown[]) : []));
  return (
    containers.length === 0 ||
    containers.some((container) => {
      const security = fields(fields(container).securityContext);
      const { add = [], drop = [] } = fields(security.capabilities) as { add?: unknown; drop?: unknown };
      const dropped = Array.isArray(drop) && drop.some((name) => name === "ALL" || name === "NET_RAW");
      const added = !Array.isArray(add) || add.some((name) => RAW.includes(String(name).replace(/^CAP_/, "")));
      return security.privileged === true || !dropped || added;
    })
  );
}

/** @returns the namespace, or one line on what is wrong with the object */
export function readNamespace(object: Fields): Namespace | string {
  const metadata = fields(object.metadata);
  const { name } = metadata;
  if (!isText(name)) return "a Namespace has no `metadata.name`: add it";
  const labels = readLabels(metadata);
  if (typeof labels === "string") return `Namespace \`${name}\`: ${labels}`;
  // The API server sets this label itself, so that nobody can call a namespace by another's name.
  return { name, labels: { ...labels, "kubernetes.io/metadata.name": name } };
}

function readLabels(metadata: Fields): Record<string, string> | string {
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(fields(metadata.labels))) {
    if (typeof value !== "string") return `the label \`${key}\` is not text: put its value in quotes`;
    // Not an assignment: the key may be `__proto__`.
    Object.defineProperty(labels, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return labels;
}

/** Of a list of objects with an `ip`, or where there is none of the single field beside it. */
function readAddresses(many: unknown, one: unknown): Address[] | string {
  const listed = Array.isArray(many) ? many.map((entry) => fields(entry).ip) : [];
  const all = listed.length > 0 ? listed : [one];
  const addresses: Address[] = [];
  for (const ip of all) {
    if (ip === undefined || ip === null || ip === "") continue;
    const address = typeof ip === "string" ? parseAddress(ip) : null;
    if (address === null) return `\`${String(ip)}\` in its status is no IP address`;
    addresses.push(address);
  }
  return addresses;
}

export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
