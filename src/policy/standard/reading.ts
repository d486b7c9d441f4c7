import * as z from "zod";
import type { Policy, Rule, StandardKind, Subject, Tier } from "../../model/policy.ts";
import { type Flaw, flawOf, perhapsNotSelected } from "../cluster-reading.ts";
import { toSelector } from "../convert.ts";
import { Broken, knownSelector } from "../known-part.ts";
import { objectMeta } from "../schema.ts";
import { isRecord, type Validated, type Violation, validate } from "../validate.ts";
import {
  ClusterNetworkPolicyMeta,
  ClusterNetworkPolicyRule,
  ClusterNetworkPolicySpec,
  clusterNetworkPolicyRule,
  clusterNetworkSubject,
} from "./cluster-network-policy.ts";
import { isInside } from "./destinations.ts";
import { NetworkPolicyMeta, NetworkPolicyRule, NetworkPolicySpec, networkPolicyRule } from "./network-policy.ts";

export const STANDARD_VERSIONS: Readonly<Record<StandardKind, string>> = {
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
};

/** A standard policy as this version can use it. */
export interface StandardReading {
  /** Null: it says nothing of what leaves its pods. */
  readonly value: Policy | null;
  /** Null: it was read whole. */
  readonly flaw: Flaw | null;
  /** Names of rules with peers inside the cluster, which are not decided here. */
  readonly inside: readonly string[];
}

const documentOf = <S extends z.ZodType>(kind: StandardKind, metadata: z.ZodRawShape, spec: S) =>
  z.object({
    apiVersion: z.literal(STANDARD_VERSIONS[kind]),
    kind: z.literal(kind),
    metadata: z.object({ ...objectMeta, ...metadata }),
    spec,
    status: z.unknown().optional(),
  });

export const STANDARD_DOCUMENTS = {
  NetworkPolicy: documentOf("NetworkPolicy", NetworkPolicyMeta, NetworkPolicySpec),
  ClusterNetworkPolicy: documentOf("ClusterNetworkPolicy", ClusterNetworkPolicyMeta, ClusterNetworkPolicySpec),
} as const;

/**
 * Reads a standard policy as an API server holds it. What is not understood never helps a flow, as in Sallyport's own policies
 * (docs/adr/0015-custom-resources.md): an Accept matches nothing, a Deny or Pass denies everything, a subject selects by what is understood
 * of it. Never throws. `metadata` is the API server's: only name and namespace are read.
 */
export function readStandardPolicy(kind: StandardKind, object: unknown): StandardReading {
  const given = isRecord(object) ? object : {};
  const { name, namespace } = isRecord(given["metadata"]) ? given["metadata"] : {};
  const own = kind === "NetworkPolicy" ? { name, namespace } : { name };
  const document = { apiVersion: STANDARD_VERSIONS[kind], kind, metadata: own, spec: given["spec"] ?? {} };
  const { violations, ...reading } = readStandardDocument(kind, document);
  return { ...reading, flaw: violations.length === 0 ? null : flawOf(violations) };
}

/** The same of a document as it is written, with all that is wrong with it. */
export function readStandardDocument(
  kind: StandardKind,
  document: Readonly<Record<string, unknown>>,
): Pick<StandardReading, "value" | "inside"> & { readonly violations: readonly Violation[] } {
  const result: Validated<unknown> = validate(STANDARD_DOCUMENTS[kind], document);
  const violations = result.ok ? [] : result.violations;
  const spec = isRecord(document["spec"]) ? document["spec"] : {};
  const value = hasEgress(kind, spec, violations) ? policyOf(kind, document, spec, violations) : null;
  const rules = value?.rules ?? [];
  const inside = rules.filter(({ to }) => to?.some(isInside)).map(({ name }) => name);
  return { value, inside, violations };
}

/**
 * A NetworkPolicy isolates what leaves its pods if its types say so, or if it says no types and has egress rules. A ClusterNetworkPolicy
 * without egress rules says nothing. In doubt there is something.
 */
function hasEgress(kind: StandardKind, spec: Fields, violations: readonly Violation[]): boolean {
  const { egress, policyTypes } = spec;
  const some = Array.isArray(egress) ? egress.length > 0 : egress !== undefined && egress !== null;
  if (kind === "ClusterNetworkPolicy") return some || doubtsOf(kind, violations).policy;
  const broken = new Broken(violations).within(["spec", "policyTypes"]);
  const typed = Array.isArray(policyTypes) && policyTypes.length > 0;
  return broken || doubtsOf(kind, violations).policy || (typed ? policyTypes.includes("Egress") : some);
}

type Fields = Readonly<Record<string, unknown>>;

interface Doubts {
  /** Something in it that may change what every rule means. */
  readonly policy: boolean;
  readonly subject: boolean;
  /** Positions. */
  readonly rules: ReadonlySet<number>;
}

const SUBJECT: Readonly<Record<StandardKind, string>> = {
  NetworkPolicy: "podSelector",
  ClusterNetworkPolicy: "subject",
};

function doubtsOf(kind: StandardKind, violations: readonly Violation[]): Doubts {
  const rules = new Set<number>();
  let policy = false;
  let subject = false;
  for (const { path } of violations) {
    const [first, field, index] = path;
    // Nothing of it can be read.
    subject ||= first === undefined || (first === "spec" && field === undefined);
    if (first === "metadata" || first === "status" || (first === "spec" && field === "policyTypes")) continue;
    if (first === "spec" && field === SUBJECT[kind]) subject = true;
    else if (first === "spec" && field === "egress" && typeof index === "number") rules.add(index);
    else policy = true;
  }
  return { policy, subject, rules };
}

function policyOf(kind: StandardKind, document: Fields, spec: Fields, violations: readonly Violation[]): Policy {
  const doubts = doubtsOf(kind, violations);
  const broken = new Broken(violations);
  const { name, namespace } = isRecord(document["metadata"]) ? document["metadata"] : {};
  const rules = rulesOf(kind, spec["egress"], doubts, broken);
  const number = broken.within(["spec", "priority"]) ? 0 : spec["priority"];
  return {
    kind,
    name: String(name),
    namespace: kind === "NetworkPolicy" ? String(namespace) : null,
    tier: kind === "NetworkPolicy" ? "NetworkPolicy" : tierOf(spec["tier"]),
    priority: kind === "NetworkPolicy" ? 0 : Number(number ?? 0),
    mode: "Enforce",
    // What it isolates is closed by rules: Sallyport's own default deny is another one.
    defaultDeny: false,
    subject: subjectOf(kind, spec, doubts, broken),
    rules: doubts.subject ? rules.map(perhapsNotSelected) : rules,
  };
}

/** One that cannot be read comes first. */
function tierOf(tier: unknown): Tier {
  return tier === "Baseline" ? "StandardBaseline" : "StandardAdmin";
}

function rulesOf(kind: StandardKind, egress: unknown, doubts: Doubts, broken: Broken): Rule[] {
  if (broken.at(["spec"]) || broken.at(["spec", "egress"]) || (egress !== undefined && !Array.isArray(egress)))
    return [strictest(kind, null, 0)];
  return ((egress ?? []) as unknown[]).map((rule, index) => {
    if (doubts.policy || doubts.rules.has(index)) return strictest(kind, rule, index);
    return kind === "NetworkPolicy"
      ? networkPolicyRule(valid(NetworkPolicyRule, rule), index)
      : clusterNetworkPolicyRule(valid(ClusterNetworkPolicyRule, rule), index);
  });
}

/** Of a rule that is not understood: as upstream asks, an Accept matches no traffic, and anything else denies all of it. */
function strictest(kind: StandardKind, rule: unknown, index: number): Rule {
  const action = kind === "NetworkPolicy" ? "Accept" : isRecord(rule) ? rule["action"] : undefined;
  const name = `egress[${index}]`;
  if (action === "Accept") return { name, action, to: [], whenHidden: "Deny" };
  return { name, action: "Deny", to: null, whenHidden: "Deny" };
}

function subjectOf(kind: StandardKind, spec: Fields, doubts: Doubts, broken: Broken): Subject {
  if (kind === "NetworkPolicy") {
    const selector = doubts.subject ? known(spec, [], "podSelector", broken) : (spec["podSelector"] ?? {});
    return { namespaceSelector: null, podSelector: toSelector(selector), serviceAccounts: null };
  }
  const given = isRecord(spec["subject"]) ? spec["subject"] : {};
  if (!doubts.subject) return clusterNetworkSubject(valid(ClusterNetworkPolicySpec.shape.subject, given));
  const pods = isRecord(given["pods"]) ? given["pods"] : {};
  const path = ["subject", "pods"];
  return clusterNetworkSubject({
    ...(given["namespaces"] === undefined ? {} : { namespaces: known(given, ["subject"], "namespaces", broken) }),
    ...(given["pods"] === undefined
      ? {}
      : {
          pods: {
            namespaceSelector: known(pods, path, "namespaceSelector", broken),
            podSelector: known(pods, path, "podSelector", broken),
          },
        }),
  });
}

/** What is understood of a selector: it selects at least as many. */
function known(of: Fields, path: readonly string[], field: string, broken: Broken): object {
  const selector = isRecord(of[field]) ? of[field] : {};
  return knownSelector(selector, ["spec", ...path, field], broken);
}

/** A part of which no violation is known. */
function valid<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  return schema.parse(value);
}
