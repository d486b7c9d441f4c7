import { parseAllDocuments } from "yaml";
import type { Workload } from "../model/workload.ts";
import { type Address, formatAddress } from "../net/address.ts";
import type { IdentityTable } from "./identity.ts";
import { type Fields, fields, type Namespace, type Pod, readNamespace, readPod } from "./pod.ts";

/** The pods of one reading of the source. */
export interface WorkloadSnapshot {
  readonly workloads: readonly Workload[];
  /** Pods that policies do not hold, or not wholly, as their objects say. */
  readonly notEnforced: readonly UnheldPod[];
  /** Addresses of all nodes that some pod runs on. */
  readonly nodeAddresses: readonly Address[];
  /** One line each, on objects that were left out or lost an address. */
  readonly problems: readonly string[];
}

/**
 * `HostNetwork`: it shares its node's network: its control group has to tell its traffic from the node's own. `NoAddress`: it runs, and no
 * address of it is known. `OtherNetwork`: it has more interfaces than the one that is enforced on; it is a workload too.
 */
export interface UnheldPod {
  readonly why: "HostNetwork" | "NoAddress" | "OtherNetwork";
  /** Without addresses where it has none of its own. Labels of its namespace are missing while that is not known. */
  readonly pod: Workload;
  /** For `OtherNetwork`: which. */
  readonly interfaces: readonly string[];
  /** For `HostNetwork`: it may write frames that no rule sees. */
  readonly raw: boolean;
}

export type WorkloadsResult =
  | { readonly ok: true; readonly snapshot: WorkloadSnapshot }
  | { readonly ok: false; readonly problem: string };

/** The documents of a YAML text as the YAML reader would give them, or null: that reader has to be asked. */
export type QuickReader = (text: string) => readonly unknown[] | null;

const none: QuickReader = () => null;

const COMMAND = "`kubectl get pods,namespaces -A -o yaml`";

/**
 * Reads core/v1 Pod and Namespace objects as kubectl prints them: a List in YAML or JSON, or several documents. Never throws.
 * `quick`: a reader that is asked first.
 *
 * Left out: pods that have ended or have no address yet (their traffic, if any, is that of an unknown workload), pods of the
 * host network, and, reported, what cannot be read or whose namespace is not there: to guess its labels might take a
 * policy off it. An address that two pods claim belongs to the one that is not being deleted; if that does not settle it, to
 * neither, and its traffic is held and denied as an unknown workload's.
 */
export function readWorkloads(text: string, identities: IdentityTable, quick: QuickReader = none): WorkloadsResult {
  const objects = readObjects(text, quick);
  if (typeof objects === "string") return { ok: false, problem: objects };
  const problems: string[] = [];
  const pods: Pod[] = [];
  const namespaces = new Map<string, Namespace>();
  for (const object of objects) {
    if (object.apiVersion !== "v1") continue;
    if (object.kind === "Pod") {
      const pod = readPod(object);
      if (typeof pod === "string") problems.push(pod);
      else pods.push(pod);
    } else if (object.kind === "Namespace") {
      const namespace = readNamespace(object);
      if (typeof namespace === "string") problems.push(namespace);
      else namespaces.set(namespace.name, namespace);
    }
  }
  const missing = `is not in the file: make it with ${COMMAND}`;
  return { ok: true, snapshot: settleWorkloads({ pods, namespaces, identities, problems, missing }) };
}

export interface WorkloadObjects {
  readonly pods: readonly Pod[];
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly identities: IdentityTable;
  /** What is known to be wrong; what is found wrong is added. */
  readonly problems: string[];
  /** What is to be said of a Namespace that is not there. */
  readonly missing: string;
}

/** Pods and namespaces as they were read → the workloads they make; `readWorkloads` says which. */
export function settleWorkloads(objects: WorkloadObjects): WorkloadSnapshot {
  const { pods, namespaces, identities, problems, missing } = objects;
  const running = pods.filter((pod) => !pod.ended);
  const own = running.filter((pod) => !pod.hostNetwork && pod.addresses.length > 0);
  const owners = settleAddresses(own, problems);
  const workloads: Workload[] = [];
  for (const pod of own) {
    const namespace = namespaces.get(pod.namespace);
    const addresses = pod.addresses.filter((address) => owners.get(formatAddress(address)) === pod);
    if (namespace === undefined) {
      problems.push(`Pod \`${pod.namespace}/${pod.name}\` is left out, for its Namespace ${missing}`);
    } else if (addresses.length > 0) workloads.push(toWorkload(pod, namespace, addresses, identities.idOf(pod)));
  }
  const notEnforced = running.flatMap((pod) => unheld(pod, namespaces, identities) ?? []);
  return { workloads, notEnforced, nodeAddresses: nodeAddressesOf(pods), problems };
}

/** Pods on the network of their node, without addresses. */
export function podsOnHost({ notEnforced }: WorkloadSnapshot): Workload[] {
  return notEnforced.flatMap(({ why, pod }) => (why === "HostNetwork" ? [pod] : []));
}

function unheld(pod: Pod, namespaces: ReadonlyMap<string, Namespace>, identities: IdentityTable): UnheldPod | null {
  const { hostNetwork, addresses, otherInterfaces } = pod;
  const without = pod.running && !pod.leaving && addresses.length === 0;
  const why = hostNetwork ? "HostNetwork" : without ? "NoAddress" : otherInterfaces.length > 0 ? "OtherNetwork" : null;
  if (why === null) return null;
  const namespace = namespaces.get(pod.namespace) ?? { name: pod.namespace, labels: {} };
  const own = hostNetwork ? [] : addresses;
  const interfaces = why === "OtherNetwork" ? otherInterfaces : [];
  return { why, pod: toWorkload(pod, namespace, own, identities.idOf(pod)), interfaces, raw: hostNetwork && pod.raw };
}

function nodeAddressesOf(pods: readonly Pod[]): Address[] {
  const known = new Map<string, Address>();
  for (const pod of pods) {
    for (const address of pod.hostAddresses) known.set(formatAddress(address), address);
  }
  return [...known.values()];
}

function toWorkload(pod: Pod, namespace: Namespace, addresses: readonly Address[], id: number): Workload {
  const { uid, name, labels, serviceAccount, node, staticUid } = pod;
  return {
    id,
    uid,
    namespace: pod.namespace,
    name,
    labels,
    namespaceLabels: namespace.labels,
    serviceAccount,
    addresses,
    node,
    ...(staticUid === "" ? {} : { staticUid }),
  };
}

/** By address in text form, the pod it belongs to; null where that cannot be told. */
function settleAddresses(pods: readonly Pod[], problems: string[]): Map<string, Pod | null> {
  const claims = new Map<string, Set<Pod>>();
  for (const pod of pods) {
    for (const address of pod.addresses) {
      const key = formatAddress(address);
      const claim = claims.get(key);
      if (claim === undefined) claims.set(key, new Set([pod]));
      else claim.add(pod);
    }
  }
  const owners = new Map<string, Pod | null>();
  for (const [address, claim] of claims) {
    const staying = [...claim].filter((pod) => !pod.leaving);
    const left = claim.size === 1 ? [...claim] : staying;
    owners.set(address, left.length === 1 ? left[0]! : null);
    if (left.length === 1) continue;
    const named = [...claim]
      .slice(0, 3)
      .map((pod) => `\`${pod.namespace}/${pod.name}\``)
      .join(" and ");
    problems.push(
      `the address \`${address}\` is claimed by ${named}: neither gets it, and what it sends is denied; remove the stale Pod`,
    );
  }
  return owners;
}

/** @returns the objects, lists taken apart, or one line on why the text cannot be read */
function readObjects(text: string, quick: QuickReader): Fields[] | string {
  const documents = parseText(text, quick);
  if (typeof documents === "string") return documents;
  const objects: Fields[] = [];
  for (const document of documents) {
    const { kind, items } = fields(document);
    if (typeof kind !== "string") return `not a Kubernetes object or List (half written?): make it with ${COMMAND}`;
    if (!kind.endsWith("List")) objects.push(fields(document));
    else if (!Array.isArray(items)) return `the List has no \`items\` (half written?): make it with ${COMMAND}`;
    else for (const item of items) objects.push(withKind(fields(item), kind));
  }
  return objects.length > 0 || documents.length > 0 ? objects : `holds no objects: make it with ${COMMAND}`;
}

/** Items of a PodList, as the API server itself prints them, leave kind and version out. */
function withKind(item: Fields, list: string): Fields {
  return item.kind === undefined && list !== "List" ? { apiVersion: "v1", ...item, kind: list.slice(0, -4) } : item;
}

function parseText(text: string, quick: QuickReader): readonly unknown[] | string {
  try {
    // JSON of thousands of pods is read a hundred times faster as what it is.
    if (/^\s*\{/.test(text)) return [JSON.parse(text)];
  } catch {
    // YAML's flow style, or JSON documents one after the other.
  }
  const read = quick(text);
  if (read !== null) return read;
  try {
    const documents: unknown[] = [];
    for (const document of parseAllDocuments(text, { prettyErrors: true, logLevel: "silent" })) {
      const error = document.errors[0];
      if (error !== undefined) return `not readable as YAML: ${firstLine(error)}`;
      const value: unknown = document.toJS({ maxAliasCount: 100 });
      if (value !== null) documents.push(value);
    }
    return documents;
  } catch (error) {
    return `not readable as YAML: ${firstLine(error)}`;
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n")[0]!.slice(0, 200).replace(/:$/, "");
}
