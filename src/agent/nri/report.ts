import type { NodeCondition } from "../cluster/node-status.ts";
import type { StartCounts } from "./start-gate.ts";

/** What an agent knows of the container runtime of its node. */
export interface RuntimeReport {
  readonly socket: string;
  readonly connected: boolean;
  /** Its name and version; null: there is no connection. */
  readonly runtime: string | null;
  /** Why there is none; null: there is one, or nothing was tried yet. */
  readonly trouble: string | null;
  /** Made since the agent began. */
  readonly connections: number;
  /** Of pods, with an address of their own, that run. */
  readonly sandboxes: number;
  readonly disagreements: number;
  readonly starts: Readonly<StartCounts>;
}

/** None where nobody asked for NRI, or nothing is known of it yet. */
export function runtimeCondition(runtime: RuntimeReport | null): NodeCondition[] {
  if (runtime === null || (!runtime.connected && runtime.trouble === null)) return [];
  const type = "RuntimeConnected";
  if (runtime.connected) return [{ type, status: "True", reason: "Connected", message: runtime.runtime ?? "" }];
  const message = `addresses of pods come from the API server alone, as without NRI: ${runtime.trouble}`;
  return [{ type, status: "False", reason: "NotConnected", message }];
}
