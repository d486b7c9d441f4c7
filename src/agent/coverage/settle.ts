import type { Finding } from "./report.ts";

/** What is said of a pod, and for how long something else has been found. */
export interface Known extends Finding {
  /** When it was first found otherwise than `state` says, without a break since; 0: it is as it says. Milliseconds. */
  readonly since: number;
}

/** What speaks against a pod counts after so long: an interface goes a moment before its pod's object does. */
const SETTLE_MS = 5_000;

export const NEW: Known = { state: "unknown", message: "", since: 0 };

/** `found`: why the pod is not enforced; null: it is, which counts at once. */
export function settle(before: Known, found: Finding | null, now: number): Known {
  if (found === null) return { state: "crossing", message: "", since: 0 };
  if (before.state === found.state) return { ...found, since: 0 };
  const since = before.since === 0 ? now : before.since;
  return now - since >= SETTLE_MS ? { ...found, since: 0 } : { ...before, since };
}
