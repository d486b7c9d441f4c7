import type { LabelRequirement, LabelSelector, Policy, Subject } from "../../model/policy.ts";

type Requirement = LabelRequirement;

/** A longer list of values is nothing that somebody is found by. */
const MOST_ANCHORS = 64;
/** Kubernetes puts it on every namespace. */
const NAMESPACE_NAME = "kubernetes.io/metadata.name";

/**
 * Whether `outer` selects every pod that `inner` selects, whatever pods and namespaces there are. Sound, not complete: requirements are compared one by
 * one, and of a namespace only the name is known.
 */
export function subjectCovers(outer: Policy, inner: Policy, systemNamespaces: readonly string[]): boolean {
  if (outer.namespace !== null && outer.namespace !== inner.namespace) return false;
  if (outer.namespace === null && isEmpty(outer.subject) && maySelectIn(inner, systemNamespaces)) return false;
  const { serviceAccounts, podSelector, namespaceSelector } = outer.subject;
  if (serviceAccounts !== null) {
    const own = inner.subject.serviceAccounts;
    if (own === null || !own.every((name) => serviceAccounts.includes(name))) return false;
  }
  return (
    follows(podSelector, requirementsOf(inner.subject.podSelector)) &&
    follows(namespaceSelector, namespaceRequirements(inner))
  );
}

/** Whether some pod may be selected by both. Complete, not sound: false only where that is impossible. */
export function mayShare(a: Policy, b: Policy): boolean {
  const accounts = [a.subject.serviceAccounts, b.subject.serviceAccounts];
  if (accounts[0] && accounts[1] && !accounts[0].some((name) => accounts[1]!.includes(name))) return false;
  return (
    mayBothHold(requirementsOf(a.subject.podSelector), requirementsOf(b.subject.podSelector)) &&
    mayBothHold(namespaceRequirements(a), namespaceRequirements(b))
  );
}

/**
 * Texts of which an outer policy's subject has one that an inner one's has as well, if it covers it: one of an `In` or of the accounts. None: no such
 * text can be named, and it may cover any.
 */
export function anchorsOf(policy: Policy): readonly string[] {
  const anchor = listsOf(policy).find(({ values }) => values.length <= MOST_ANCHORS);
  return anchor?.values.map((value) => `${anchor.field} ${value}`) ?? [];
}

/** The texts under which policies that cover this one are found: one of each list of values. */
export function soughtAnchors(policy: Policy): readonly string[] {
  return listsOf(policy).flatMap(({ field, values }) => (values.length === 0 ? [] : [`${field} ${values[0]}`]));
}

/** What is only met by one of some values. */
function listsOf(policy: Policy): { readonly field: string; readonly values: readonly string[] }[] {
  const lists = (field: string, requirements: readonly Requirement[]) =>
    requirements.flatMap(({ key, operator, values }) =>
      operator === "In" ? [{ field: `${field} ${key}`, values }] : [],
    );
  const { podSelector, serviceAccounts } = policy.subject;
  return [
    ...lists("namespace", namespaceRequirements(policy)),
    ...lists("pod", requirementsOf(podSelector)),
    ...(serviceAccounts === null ? [] : [{ field: "account", values: serviceAccounts }]),
  ];
}

function isEmpty(subject: Subject): boolean {
  const asks = (selector: LabelSelector | null) => requirementsOf(selector).length > 0;
  return subject.serviceAccounts === null && !asks(subject.podSelector) && !asks(subject.namespaceSelector);
}

/** A cluster policy that asks for nothing selects nothing there. */
function maySelectIn(policy: Policy, namespaces: readonly string[]): boolean {
  if (policy.namespace === null && isEmpty(policy.subject)) return false;
  const names = namespaceRequirements(policy).filter(
    ({ key, operator }) => key === NAMESPACE_NAME && operator === "In",
  );
  return names.every(({ values }) => values.some((name) => namespaces.includes(name)));
}

function requirementsOf(selector: LabelSelector | null): readonly Requirement[] {
  return selector?.requirements ?? [];
}

function namespaceRequirements({ namespace, subject }: Policy): readonly Requirement[] {
  if (namespace === null) return requirementsOf(subject.namespaceSelector);
  return [{ key: NAMESPACE_NAME, operator: "In", values: [namespace] }];
}

/** Every requirement of `selector` holds where `known` do. */
function follows(selector: LabelSelector | null, known: readonly Requirement[]): boolean {
  return requirementsOf(selector).every((asked) => known.some((one) => one.key === asked.key && implies(one, asked)));
}

/** As in Kubernetes, a label that is not there is not in any list of values. */
function implies(known: Requirement, asked: Requirement): boolean {
  switch (asked.operator) {
    case "Exists":
      return known.operator === "Exists" || known.operator === "In";
    case "DoesNotExist":
      return known.operator === "DoesNotExist";
    case "In":
      return known.operator === "In" && known.values.every((value) => asked.values.includes(value));
    case "NotIn":
      if (known.operator === "In") return !known.values.some((value) => asked.values.includes(value));
      if (known.operator === "NotIn") return asked.values.every((value) => known.values.includes(value));
      return known.operator === "DoesNotExist";
  }
}

function mayBothHold(some: readonly Requirement[], others: readonly Requirement[]): boolean {
  return some.every((one) => others.every((other) => one.key !== other.key || agree(one, other)));
}

function agree(one: Requirement, other: Requirement): boolean {
  if (one.operator === "In" && other.operator === "In") return one.values.some((value) => other.values.includes(value));
  const absent = [one, other].some(({ operator }) => operator === "DoesNotExist");
  const present = [one, other].some(({ operator }) => operator === "Exists" || operator === "In");
  return !(absent && present);
}
