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
  readonly node: string | null;
}
