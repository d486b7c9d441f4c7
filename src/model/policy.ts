import type { Cidr } from "../net/cidr.ts";
import type { DomainPattern } from "../net/pattern.ts";
import type { PortRange } from "../net/ports.ts";

/** The first three are those of the standard policies, which are asked before Sallyport's own (docs/adr/0021-standard-policies.md). */
export type Tier = "StandardAdmin" | "NetworkPolicy" | "StandardBaseline" | "Admin" | "Namespace" | "Baseline";
export type Mode = "Enforce" | "Audit";
/** `Accept` is of standard policies: it leaves their tiers, and Sallyport's own policies decide. */
export type RuleAction = "Allow" | "Deny" | "Next" | "Pass" | "Accept";
export type OwnPolicyKind = "ClusterEgressPolicy" | "EgressPolicy";

/** Kinds of Kubernetes that may be read beside Sallyport's own. */
export const STANDARD_KINDS = ["NetworkPolicy", "ClusterNetworkPolicy"] as const;
export type StandardKind = (typeof STANDARD_KINDS)[number];
export type PolicyKind = OwnPolicyKind | StandardKind;

/** Requirements on labels, ANDed; no requirement selects everything (Kubernetes LabelSelector). */
export interface LabelSelector {
  readonly requirements: readonly LabelRequirement[];
}

export interface LabelRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/** Whom a policy selects. The fields are ANDed; null asks for nothing. A policy of a namespace has no `namespaceSelector`. */
export interface Subject {
  readonly namespaceSelector: LabelSelector | null;
  readonly podSelector: LabelSelector | null;
  readonly serviceAccounts: readonly string[] | null;
}

export interface PathMatch {
  readonly kind: "exact" | "prefix" | "suffix" | "regex";
  readonly value: string;
}

export interface HttpMatch {
  /** Upper case; null is any method. */
  readonly methods: readonly string[] | null;
  /** Any of them; null is any path. */
  readonly paths: readonly PathMatch[] | null;
}

export interface TlsMatch {
  readonly required: boolean;
  readonly encryptedClientHello: "Allow" | "Deny";
}

/** One entry of a rule's `to`: the fields are ANDed, null asks for nothing. */
export interface Destination {
  readonly domains: readonly DomainPattern[] | null;
  /** None: pods inside the cluster are meant, so it matches nothing that is decided here. */
  readonly cidrs: readonly Cidr[] | null;
  /** Taken out of `cidrs`. */
  readonly except: readonly Cidr[];
  /** Name of a DestinationGroup; its domains and cidrs are ORed. A group that does not exist matches nothing (Allow) or everything (Deny). */
  readonly group: string | null;
  readonly ports: readonly PortRange[] | null;
  readonly http: HttpMatch | null;
  readonly tls: TlsMatch | null;
}

export interface Rule {
  readonly name: string;
  readonly action: RuleAction;
  /** ORed; null is every destination. */
  readonly to: readonly Destination[] | null;
  /** Of a Deny with domains: what a flow that hides its name meets (DESIGN §2). */
  readonly whenHidden: "Deny" | "Continue";
}

export interface Policy {
  readonly kind: PolicyKind;
  readonly name: string;
  readonly namespace: string | null;
  readonly tier: Tier;
  readonly priority: number;
  readonly mode: Mode;
  readonly defaultDeny: boolean;
  readonly subject: Subject;
  readonly rules: readonly Rule[];
}

export interface DestinationGroup {
  readonly name: string;
  readonly domains: readonly DomainPattern[];
  readonly cidrs: readonly Cidr[];
  readonly except: readonly Cidr[];
}

/** `Kind/name` or `Kind/namespace/name`: how a policy is named in decisions, records and messages. */
export function policyRef(policy: Pick<Policy, "kind" | "name" | "namespace">): string {
  return policy.namespace === null
    ? `${policy.kind}/${policy.name}`
    : `${policy.kind}/${policy.namespace}/${policy.name}`;
}
