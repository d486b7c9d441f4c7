/**
 * Why a decision came out as it did: a closed list, shown to users as it stands.
 * A denial's reason says what to look at; a new constant needs its line in docs/guide/reasons.md.
 */
export const REASONS = [
  "RuleMatched", // a rule decided
  "DefaultDeny", // no rule matched and the workload is isolated
  "NotIsolated", // no rule matched and no enforcing policy with defaultDeny selects the workload
  "Bypassed", // an enforcing policy selects the workload, and somebody has set that aside for a while
  "NameHidden", // a Deny by name, and the flow speaks a protocol that carries names but hides its own
  "NotResolved", // default deny; an Allow knew the name in the flow, but this workload never resolved it to this address
  "NameMissing", // default deny; an Allow knew the address, but the flow did not carry the name as evidence
  "ClusterDomain", // DNS: a name under the cluster domain passes
  "TrustedResolver", // port 53 of a trusted resolver: each query is judged by its name
  "OtherResolver", // default deny; port 53 of a server that is not a trusted resolver needs an Allow that names port 53
  "Inside", // destination inside the cluster: not egress
  "Malformed", // bytes that cannot be read in one way only
  "UnknownWorkload", // a source inside the pod ranges that no workload owns
  "LimitReached", // a bound of this workload is used up
  "NoRememberedDecision", // TCP in mid-flow that nobody decided
  "NoLongerAllowed", // an open flow, re-decided after a change
  "AmbiguousCopy", // bytes sent again with other content
] as const;
export type Reason = (typeof REASONS)[number];

export type Action = "Allow" | "Deny";

export interface Decision {
  readonly action: Action;
  /** `Kind/name` or `Kind/namespace/name`; null where no rule decided. */
  readonly policy: string | null;
  readonly rule: string | null;
  readonly reason: Reason;
}
