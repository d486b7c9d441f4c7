import type { Address } from "../net/address.ts";

/** A pod, or what stands in for one. `id` is given by the agent, never reused while it runs; everything is keyed by it. */
export interface Workload {
  readonly id: number;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly addresses: readonly Address[];
  /** Of a pod on its node's network that can be told from it: its number (model/host-pod.ts); such a pod has no addresses. */
  readonly host?: number;
  readonly node: string | null;
  /** Of the mirror of a static pod: the UID by which the node's kubelet knows that one. */
  readonly staticUid?: string;
}
