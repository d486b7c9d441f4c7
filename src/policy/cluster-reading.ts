import type * as z from "zod";
import type { ClusterAgentConfig } from "../model/config.ts";
import type { DestinationGroup, OwnPolicyKind, Policy, Rule } from "../model/policy.ts";
import { oneLine } from "./check.ts";
import { ClusterAgentConfigSpec } from "./config-schema.ts";
import { toClusterConfig, toGroup, toPolicy } from "./convert.ts";
import { Broken, type Doubts, doubtsOf, knownDocument } from "./known-part.ts";
import { API_VERSION, KINDS } from "./schema.ts";
import { isRecord, type Validated, type Violation, validate } from "./validate.ts";

/** Why an object is not enforced as it is written; `message` is one line. */
export interface Flaw {
  /**
   * `UnknownField`: it was written for a newer version. `Invalid`: what this version knows does not hold. `NotSupported`: of a standard
   * policy, what this version does not enforce.
   */
  readonly reason: "UnknownField" | "Invalid" | "NotSupported";
  readonly message: string;
}

/** An object of an API server as this version can use it. */
export interface ClusterReading<T> {
  readonly value: T;
  /** Null: it was read whole. */
  readonly flaw: Flaw | null;
}

/**
 * Reads a policy that an API server holds, which may be newer than this program or fail a check that the API server cannot make
 * (docs/adr/0015-custom-resources.md). What is not understood never helps a flow:
 *
 * 1. in a rule: see `doubtedRules`;
 * 2. in the subject: the policy selects by what is understood of it, so perhaps more pods. Its Deny rules hold for them, its Allow rules
 *    match nothing;
 * 3. elsewhere in the policy: as 1, for all rules. A tier, priority, mode or default deny that cannot be read is the strictest.
 *
 * Never throws. `metadata` is the API server's: only name and namespace are read.
 */
export function readClusterPolicy(kind: OwnPolicyKind, object: unknown): ClusterReading<Policy> {
  const document = ownPart(kind, object);
  const result: Validated<PolicyText> = validate(KINDS[kind], document);
  if (result.ok) return { value: toPolicy(result.value), flaw: null };
  const doubts = doubtsOf(result.violations);
  const known: Validated<PolicyText> = validate(KINDS[kind], knownDocument(kind, document, result.violations, doubts));
  const value = known.ok ? strictest(toPolicy(known.value), doubts) : denyEverything(kind, document);
  return { value, flaw: flawOf(result.violations) };
}

type PolicyText = z.output<(typeof KINDS)[OwnPolicyKind]>;

/** Null: it counts as a group that does not exist, which matches nothing in an Allow, Next or Pass, and everything in a Deny. */
export function readClusterGroup(object: unknown): ClusterReading<DestinationGroup | null> {
  const result = validate(KINDS.DestinationGroup, ownPart("DestinationGroup", object));
  if (!result.ok) return { value: null, flaw: flawOf(result.violations) };
  return { value: toGroup(result.value.metadata.name, result.value.spec), flaw: null };
}

/**
 * Fields that are not known are left out, and said; with a field that is known and cannot be read nothing is used. Null as `spec`: every
 * default.
 */
export function readClusterConfig(object: unknown): ClusterReading<ClusterAgentConfig | null> {
  const spec = object === null ? {} : isRecord(object) ? object["spec"] : undefined;
  const result = validate(ClusterAgentConfigSpec, spec);
  if (result.ok) return { value: toClusterConfig(result.value), flaw: null };
  const flaw = flawOf(result.violations);
  const unknown = result.violations.filter(({ code }) => code === "UnknownField");
  if (unknown.length < result.violations.length) return { value: null, flaw };
  const known = validate(ClusterAgentConfigSpec, without(spec, new Broken(unknown)));
  return { value: known.ok ? toClusterConfig(known.value) : null, flaw };
}

/** What the document's author wrote, in the form of a file. */
export function ownPart(kind: keyof typeof KINDS, object: unknown): Record<string, unknown> {
  const given = isRecord(object) ? object : {};
  const { status: _, metadata, ...rest } = given;
  const { name, namespace } = isRecord(metadata) ? metadata : {};
  const own = kind === "EgressPolicy" ? { name, namespace } : { name };
  return { ...rest, apiVersion: API_VERSION, kind, metadata: own };
}

function strictest(policy: Policy, doubts: Doubts): Policy {
  const every = new Set(policy.rules.keys());
  const rules = doubtedRules(policy.rules, doubts.policy ? every : doubts.rules);
  return { ...policy, rules: doubts.subject ? rules.map(perhapsNotSelected) : rules };
}

/**
 * What a rule does that may match something else than is understood of it, so that every flow it lets through would be let through whatever
 * it matches:
 *
 * - Allow: nothing.
 * - Deny, and an action that is not known: denies everything.
 * - Next: nothing, and the rules below it in its policy may be skipped: as if they were in doubt too, but for a Deny, which may hold.
 * - Pass: denies everything. It may skip what other policies of the tier say, whatever that is.
 */
function doubtedRules(rules: readonly Rule[], doubted: ReadonlySet<number>): Rule[] {
  let perhapsSkipped = false;
  return rules.map((rule, index) => {
    const certain = !doubted.has(index) && (!perhapsSkipped || rule.action === "Deny");
    if (certain) return rule;
    if (rule.action === "Next") perhapsSkipped = true;
    const nothing = rule.action === "Allow" || rule.action === "Next";
    return nothing ? { ...rule, to: [] } : { ...rule, action: "Deny", to: null, whenHidden: "Deny" };
  });
}

/** A rule of a policy that may not be there for the pod. A Pass that does and one that does not leave the tier may differ in both ways. */
export function perhapsNotSelected(rule: Rule): Rule {
  if (rule.action === "Pass") return { ...rule, action: "Deny" };
  return rule.action === "Deny" ? rule : { ...rule, to: [] };
}

/** What is left where nothing can be read. */
function denyEverything(kind: OwnPolicyKind, { metadata }: Record<string, unknown>): Policy {
  const { name, namespace } = metadata as { readonly name: unknown; readonly namespace: unknown };
  return {
    kind,
    name: String(name),
    namespace: kind === "EgressPolicy" ? String(namespace) : null,
    tier: kind === "EgressPolicy" ? "Namespace" : "Admin",
    priority: 0,
    mode: "Enforce",
    defaultDeny: true,
    subject: { namespaceSelector: null, podSelector: null, serviceAccounts: null },
    rules: [{ name: "unreadable", action: "Deny", to: null, whenHidden: "Deny" }],
  };
}

const MOST_SHOWN = 3;

export function flawOf(violations: readonly Violation[]): Flaw {
  const has = (code: Violation["code"]) => violations.some((violation) => violation.code === code);
  const lines = violations.map(({ path, message }) => `${pathText(path)}: ${message}`).sort();
  const more = lines.length > MOST_SHOWN ? `; and ${lines.length - MOST_SHOWN} more` : "";
  const message = oneLine(lines.slice(0, MOST_SHOWN).join("; ") + more, 1000);
  return { reason: has("UnknownField") ? "UnknownField" : has("NotSupported") ? "NotSupported" : "Invalid", message };
}

/** `spec.rules[0].to[1].domains`, as an API server writes it. */
export function pathText(path: Violation["path"]): string {
  return path.map((step, index) => (typeof step === "number" ? `[${step}]` : index === 0 ? step : `.${step}`)).join("");
}

function without(value: unknown, unknown: Broken, path: Violation["path"] = []): unknown {
  const here = (step: string | number) => [...path, step];
  if (Array.isArray(value)) return value.map((item, index) => without(item, unknown, here(index)));
  if (!isRecord(value)) return value;
  const kept = Object.entries(value).filter(([key]) => !unknown.at(here(key)));
  return Object.fromEntries(kept.map(([key, child]) => [key, without(child, unknown, here(key))]));
}
