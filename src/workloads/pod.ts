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
  /** Succeeded or Failed: its address may already be another's. */
  readonly ended: boolean;
  /** Being deleted; it may still run. */
  readonly leaving: boolean;
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
    ended: status.phase === "Succeeded" || status.phase === "Failed",
    leaving: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
  };
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
