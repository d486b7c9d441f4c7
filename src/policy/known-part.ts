import type { OwnPolicyKind } from "../model/policy.ts";
import { isRecord, type Violation } from "./validate.ts";
import { LabelName } from "./values.ts";

/** Where a policy holds something that is not understood. */
export interface Doubts {
  readonly policy: boolean;
  readonly subject: boolean;
  /** Positions. */
  readonly rules: ReadonlySet<number>;
}

type Path = Violation["path"];
type Fields = Readonly<Record<string, unknown>>;

export function doubtsOf(violations: readonly Violation[]): Doubts {
  const rules = new Set<number>();
  let policy = false;
  let subject = false;
  for (const { path } of violations) {
    const [first, field, index] = path;
    if (first === "spec" && field === "subject") subject = true;
    else if (first === "spec" && field === "rules" && typeof index === "number") rules.add(index);
    else policy = true;
  }
  return { policy, subject, rules };
}

/**
 * A document that holds what is understood of another and, where something is not, what is strictest: a valid one. Rules that are in doubt
 * keep their place, name and action.
 */
export function knownDocument(
  kind: OwnPolicyKind,
  document: Fields,
  violations: readonly Violation[],
  doubts: Doubts,
): Fields {
  const broken = new Broken(violations);
  const spec = isRecord(document["spec"]) ? document["spec"] : {};
  const understood = (field: string, strictest: unknown) =>
    broken.within(["spec", field]) ? { [field]: strictest } : spec[field] === undefined ? {} : { [field]: spec[field] };
  return {
    apiVersion: document["apiVersion"],
    kind,
    metadata: document["metadata"],
    spec: {
      ...(kind === "ClusterEgressPolicy" ? { tier: "Admin", ...understood("tier", "Admin") } : {}),
      defaultDeny: true,
      ...understood("defaultDeny", true),
      ...understood("priority", 0),
      ...understood("mode", "Enforce"),
      subject: knownSubject(kind, spec["subject"], broken, doubts),
      rules: broken.at(["spec", "rules"]) ? UNREADABLE : knownRules(spec["rules"], doubts),
    },
  };
}

const UNREADABLE = [{ name: "unreadable", action: "Deny" }];

/** The paths of violations. */
export class Broken {
  readonly #paths: readonly Path[];

  constructor(violations: readonly Violation[]) {
    this.#paths = violations.map(({ path }) => path);
  }

  at(path: Path): boolean {
    return this.#paths.some((found) => found.length === path.length && startsWith(found, path));
  }

  /** There or below. */
  within(path: Path): boolean {
    return this.#paths.some((found) => startsWith(found, path));
  }
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((step, index) => path[index] === step);
}

function knownRules(rules: unknown, doubts: Doubts): unknown[] {
  const given: unknown[] = Array.isArray(rules) ? rules : [];
  const names = new Set(given.flatMap((rule, index) => (doubts.rules.has(index) ? [] : [(rule as Fields)["name"]])));
  return given.map((rule, index) => {
    if (!doubts.rules.has(index)) return rule;
    const { name, action } = isRecord(rule) ? rule : {};
    let own = LabelName.safeParse(name).success ? String(name) : `rule-${index + 1}`;
    while (names.has(own)) own = `rule-${index + 1}-${names.size}`;
    names.add(own);
    // What an unknown action does is anyone's guess; that it allows is none of ours.
    return { name: own, action: ["Allow", "Next", "Pass"].includes(action as string) ? action : "Deny" };
  });
}

/**
 * The fields of a subject are ANDed, and so are the requirements of a selector: one that is left out selects more pods. An entry of a
 * list of values is never left out alone, which would select fewer.
 */
function knownSubject(kind: OwnPolicyKind, subject: unknown, broken: Broken, doubts: Doubts): Fields {
  if (!doubts.subject) return isRecord(subject) ? subject : {};
  const path = ["spec", "subject"];
  const given = isRecord(subject) ? subject : {};
  const selectors = kind === "ClusterEgressPolicy" ? ["namespaceSelector", "podSelector"] : ["podSelector"];
  const known: Record<string, unknown> = {};
  for (const field of selectors) {
    if (isRecord(given[field])) known[field] = knownSelector(given[field], [...path, field], broken);
  }
  const accounts = given["serviceAccounts"];
  if (accounts !== undefined && !broken.within([...path, "serviceAccounts"])) known["serviceAccounts"] = accounts;
  return asksNothing(known) && kind === "ClusterEgressPolicy" ? { namespaceSelector: EVERY_NAMESPACE } : known;
}

/** A subject that asks for nothing skips the system namespaces; one that is not understood might not have. */
const EVERY_NAMESPACE = { matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "Exists" }] };

function asksNothing(subject: Fields): boolean {
  const asks = (field: string, list: string) => {
    const selector = subject[field];
    return isRecord(selector) && Object.keys((selector[list] ?? {}) as object).length > 0;
  };
  const selectors = ["namespaceSelector", "podSelector"];
  const lists = ["matchLabels", "matchExpressions"];
  return (
    subject["serviceAccounts"] === undefined && !selectors.some((field) => lists.some((list) => asks(field, list)))
  );
}

/** Of a selector what is understood: fewer requirements, so at least as many pods. */
export function knownSelector(selector: Fields, path: Path, broken: Broken): Fields {
  const labels = [...path, "matchLabels"];
  const expressions = [...path, "matchExpressions"];
  const { matchLabels, matchExpressions } = selector;
  const known: Record<string, unknown> = {};
  if (isRecord(matchLabels) && !broken.at(labels)) {
    const kept = Object.entries(matchLabels).filter(([key]) => !broken.within([...labels, key]));
    known["matchLabels"] = Object.fromEntries(kept);
  }
  if (Array.isArray(matchExpressions) && !broken.at(expressions)) {
    known["matchExpressions"] = matchExpressions.filter((_, index) => !broken.within([...expressions, index]));
  }
  return known;
}
