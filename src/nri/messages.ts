import { type Address, parseAddress } from "../net/address.ts";
import { readFields, textOf, WireWriter } from "./wire.ts";

/** Names, numbers and messages of containerd/nri, pkg/api/api.proto (0.12.3); what is not needed here is skipped unread. */
export const PLUGIN_SERVICE = "nri.pkg.api.v1alpha1.Plugin";
export const RUNTIME_SERVICE = "nri.pkg.api.v1alpha1.Runtime";

export const EVENT = { runPodSandbox: 1, stopPodSandbox: 2, removePodSandbox: 3 } as const;
/** What is subscribed: a bit for each event. None of containers, and none that asks for changes. 0 would be all there are. */
export const EVENTS = Object.values(EVENT).reduce((mask, event) => mask | (1 << (event - 1)), 0);

const LONGEST_NAME = 256;
const LONGEST_ADDRESS = 64;
const MOST_ADDRESSES = 16;
/** That a runtime may list, those that are gone included; a node has some hundred. */
export const MOST_SANDBOXES = 8_192;
/** Which kubelet itself sets, whatever the pod says: `api`, or `file` or `http` of a static pod, whose UID here is not that of its object. */
const SOURCE_ANNOTATION = "kubernetes.io/config.source";

export interface PodSandbox {
  readonly id: string;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Where kubelet has the pod from; empty: not a kubelet's. */
  readonly source: string;
  /** Of its process; 0: it has none any more. */
  readonly pid: number;
  /** None on the host's network. */
  readonly addresses: readonly Address[];
}

export interface Synchronize {
  readonly sandboxes: readonly PodSandbox[];
  /** There are more to come. */
  readonly more: boolean;
}

export interface Configure {
  readonly runtime: string;
  readonly version: string;
  /** Milliseconds after which the runtime gives a plug-in up that has not answered; 0: it does not say. */
  readonly requestTimeout: number;
}

/** @returns null: it cannot be read, or does not say which sandbox and pod it is of */
export function readPodSandbox(bytes: Uint8Array): PodSandbox | null {
  const texts = new Map<number, string | null>();
  const addresses: Address[] = [];
  let source = "";
  let pid = 0;
  const whole = readFields(bytes, (field, value) => {
    if (field <= 4) texts.set(field, textOf(value, LONGEST_NAME));
    else if (field === 6 && typeof value !== "number") source = sourceOf(value) ?? source;
    else if (field === 9 && typeof value === "number") pid = value;
    else if (field === 10 && addresses.length < MOST_ADDRESSES) {
      const address = parseAddress(textOf(value, LONGEST_ADDRESS) ?? "");
      if (address !== null) addresses.push(address);
    }
  });
  const [id, name, uid, namespace] = [1, 2, 3, 4].map((field) => texts.get(field) ?? "") as [
    string,
    string,
    string,
    string,
  ];
  return whole && id !== "" && uid !== "" ? { id, uid, namespace, name, source, pid, addresses } : null;
}

/** Of one entry of the annotations; null: it is another. */
function sourceOf(entry: Uint8Array): string | null {
  let key: string | null = null;
  let value: string | null = null;
  const whole = readFields(entry, (field, word) => {
    if (field === 1) key = textOf(word, LONGEST_NAME);
    else if (field === 2) value = textOf(word, LONGEST_NAME);
  });
  return whole && key === SOURCE_ANNOTATION ? value : null;
}

/** Of RunPodSandbox, StopPodSandbox and RemovePodSandbox alike. */
export function readPodRequest(bytes: Uint8Array): PodSandbox | null {
  return readEvent(bytes, 1)?.pod ?? null;
}

/** As runtimes with NRI before 0.12 send the same. @returns null: it cannot be read; a pod that is null: it says nothing of one */
export function readStateChange(bytes: Uint8Array): { readonly event: number; readonly pod: PodSandbox | null } | null {
  return readEvent(bytes, 2);
}

function readEvent(bytes: Uint8Array, podField: number): { event: number; pod: PodSandbox | null } | null {
  let event = 0;
  let pod: PodSandbox | null = null;
  const whole = readFields(bytes, (field, value) => {
    if (field === podField && typeof value !== "number") pod = readPodSandbox(value);
    else if (field === 1 && typeof value === "number") event = value;
  });
  return whole ? { event, pod } : null;
}

/** One that cannot be read is left out of the list. It ends at one more than there may be. @returns null: the list cannot be read */
export function readSynchronize(bytes: Uint8Array): Synchronize | null {
  const sandboxes: PodSandbox[] = [];
  let more = false;
  const whole = readFields(bytes, (field, value) => {
    if (field === 1 && typeof value !== "number" && sandboxes.length <= MOST_SANDBOXES) {
      const sandbox = readPodSandbox(value);
      if (sandbox !== null) sandboxes.push(sandbox);
    } else if (field === 3) more = value !== 0;
  });
  return whole ? { sandboxes, more } : null;
}

/** @returns null: it cannot be read */
export function readConfigure(bytes: Uint8Array): Configure | null {
  let runtime = "";
  let version = "";
  let requestTimeout = 0;
  const whole = readFields(bytes, (field, value) => {
    if (field === 2) runtime = textOf(value, LONGEST_NAME) ?? "";
    else if (field === 3) version = textOf(value, LONGEST_NAME) ?? "";
    else if (field === 5 && typeof value === "number") requestTimeout = value;
  });
  return whole ? { runtime, version, requestTimeout } : null;
}

export function writeConfigured(events: number): Uint8Array {
  return new WireWriter().number(2, events).end();
}

/** The answer has to say whether more may come, as the question did. */
export function writeSynchronized(more: boolean): Uint8Array {
  return new WireWriter().number(2, more ? 1 : 0).end();
}

/** `index`: two digits; plug-ins are asked in their order. */
export function writeRegister(name: string, index: string): Uint8Array {
  return new WireWriter().text(1, name).text(2, index).end();
}
