import * as z from "zod";
import { CHECKS, type Check, type Finding, type Path, shown } from "./check.ts";
import { describeExpected } from "./expected.ts";
import { nearest } from "./nearest.ts";

/** A finding of a value against its schema. */
export interface Violation extends Finding {
  readonly code: "UnknownField" | "Missing" | "Structure" | "Check" | "NotSupported";
  /** Whether the key at `path` is meant, or its value. */
  readonly where: "key" | "value";
}

export type Validated<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly violations: readonly Violation[] };

/**
 * Reads `value` by `schema`: every violation at once, in no order. A check runs where the structure below it is right, however
 * wrong things are elsewhere.
 */
export function validate<S extends z.ZodType>(schema: S, value: unknown): Validated<z.output<S>> {
  const result = schema.safeParse(value);
  const violations = result.success ? [] : result.error.issues.map((issue) => fromIssue(schema, value, issue));
  const broken: Broken = { own: new Set(), above: new Set() };
  for (const { path } of violations) {
    broken.own.add(keyOf(path));
    for (let length = 0; length < path.length; length++) broken.above.add(keyOf(path.slice(0, length)));
  }
  walk(planOf(schema), value, [], broken, violations);
  return result.success && violations.length === 0 ? { ok: true, value: result.data } : { ok: false, violations };
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}

/** Paths of values whose structure is wrong. */
interface Broken {
  /** Of what lies below one of these nothing is known: of a list that is too long the entries were not looked at. */
  readonly own: Set<string>;
  /** Those that hold one of them. */
  readonly above: Set<string>;
}

/** What there is to look at in a node, worked out once a schema: thousands of documents are walked. */
interface Plan {
  readonly fields: ReadonlyMap<string, z.core.$ZodType> | null;
  readonly element: z.core.$ZodType | null;
  readonly firstChecks: readonly Check<never>[];
  readonly checks: readonly Check<never>[];
}

const PLANS = new WeakMap<z.core.$ZodType, Plan>();

function planOf(wrapped: z.core.$ZodType): Plan {
  let plan = PLANS.get(wrapped);
  if (plan === undefined) {
    const { schema, checks } = unwrap(wrapped);
    const fields = schema instanceof z.ZodObject ? new Map(Object.entries<z.core.$ZodType>(schema.shape)) : null;
    plan = {
      fields,
      element: schema instanceof z.ZodArray ? schema.element : null,
      firstChecks: checks.filter(({ first }) => first === true),
      checks: checks.filter(({ first }) => first !== true),
    };
    PLANS.set(wrapped, plan);
  }
  return plan;
}

/** Unknown fields, and the named checks of each node. `path` is of this call: it is put back as it was. */
function walk(plan: Plan, value: unknown, path: (string | number)[], broken: Broken, found: Violation[]): void {
  if (value === undefined || value === null) return;
  const { fields, element, firstChecks, checks } = plan;
  if (fields === null && element === null && checks.length === 0 && firstChecks.length === 0) return;
  const key = broken.own.size === 0 ? null : keyOf(path);
  if (key !== null && broken.own.has(key)) return;
  for (const check of firstChecks) if (ask(check, value, path, found)) return;
  if (fields !== null && isRecord(value)) {
    for (const key of Object.keys(value)) {
      const field = fields.get(key);
      if (field === undefined) found.push(unknownField([...fields.keys()], key, [...path], value));
      else {
        path.push(key);
        walk(planOf(field), value[key], path, broken, found);
        path.pop();
      }
    }
  } else if (element !== null && Array.isArray(value)) {
    const below = planOf(element);
    for (let index = 0; index < value.length; index++) {
      path.push(index);
      walk(below, value[index], path, broken, found);
      path.pop();
    }
  }
  if (checks.length === 0 || (key !== null && broken.above.has(key))) return;
  for (const check of checks) ask(check, value, path, found);
}

/** @returns whether it finds something */
function ask(check: Check<never>, value: unknown, path: Path, found: Violation[]): boolean {
  const findings = (check as unknown as Check<unknown>).find(value);
  // As nearly always; thousands of documents are checked.
  if (findings === null) return false;
  const all = [findings].flat() as Finding[];
  for (const finding of all) {
    const code = finding.notSupported === true ? "NotSupported" : "Check";
    found.push({ code, where: "value", path: [...path, ...finding.path], message: finding.message });
  }
  return all.length > 0;
}

/** Takes defaults and optionality off, gathering the checks on the way. */
export function unwrap(wrapped: z.core.$ZodType): { schema: z.core.$ZodType; checks: readonly Check<never>[] } {
  const checks = [...(CHECKS.get(wrapped)?.checks ?? [])];
  let schema = wrapped;
  while (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    schema = schema.unwrap();
    checks.push(...(CHECKS.get(schema)?.checks ?? []));
  }
  return { schema, checks };
}

function unknownField(known: readonly string[], key: string, path: Path, parent: Record<string, unknown>): Violation {
  const special = (key === "namespace" && path.at(-1) === "metadata") || key === "<<" ? SPECIAL[key] : undefined;
  const message = special ?? `unknown field ${shown(key)}${placeOf(path)}: ${rightField(known, key, parent)}`;
  return { code: "UnknownField", where: "key", path: [...path, key], message };
}

const SPECIAL: Readonly<Record<string, string>> = {
  namespace: "`namespace` has no meaning here, for this kind belongs to the whole cluster: leave it out",
  "<<": "merge keys (`<<`) are not read: use an alias for a whole value",
};

function placeOf(path: Path): string {
  const field = path.findLast((step) => typeof step === "string");
  return field === undefined ? "" : ` in ${shown(field)}`;
}

function rightField(known: readonly string[], key: string, parent: Record<string, unknown>): string {
  const free = known.filter((name) => !Object.hasOwn(parent, name));
  const meant = nearest(key, free) ?? nearest(key, known);
  return meant !== null
    ? `did you mean \`${meant}\`?`
    : `known here are ${known.map((name) => `\`${name}\``).join(", ")}`;
}

function fromIssue(root: z.core.$ZodType, value: unknown, issue: z.core.$ZodIssue): Violation {
  const path = issue.path.filter((step) => typeof step !== "symbol");
  const { schema, given, missing } = follow(root, value, path);
  const field = shown(fieldOf(path));
  const violation = (code: "Missing" | "Structure", message: string, where: "key" | "value" = "value"): Violation => ({
    code,
    where,
    path,
    message,
  });
  if (issue.code === "invalid_key") {
    return violation("Structure", issue.issues[0]?.message ?? `${field} is no valid key`, "key");
  }
  const expected = describeExpected(schema);
  if (missing) return violation("Missing", `${field} is missing: give it ${expected}`);
  if (given === null)
    return violation("Structure", `${field} has no value: give it ${expected}, or leave it out`, "key");
  if (issue.code === "invalid_format" || (issue.code === "too_small" && Array.isArray(given))) {
    return violation("Structure", issue.message);
  }
  if (issue.code === "too_big" && Array.isArray(given)) {
    return violation("Structure", `${field} has ${given.length} entries: use at most ${issue.maximum}`);
  }
  if (issue.code === "too_big" && typeof given === "string") {
    const own = issue.message.startsWith("`");
    return violation(
      "Structure",
      own ? issue.message : `${field} is too long: use at most ${issue.maximum} characters`,
    );
  }
  if (issue.code === "invalid_union") return violation("Structure", `${issue.message}, not ${shown(given)}`);
  const text = typeof given === "string" && !(schema instanceof z.ZodEnum) && !(schema instanceof z.ZodLiteral);
  const instead = `${text ? "the text " : ""}${shown(given)}${meantValue(issue, given)}`;
  return violation("Structure", `${field} must be ${expected}, not ${instead}`);
}

function meantValue(issue: z.core.$ZodIssue, given: unknown): string {
  if (issue.code !== "invalid_value" || typeof given !== "string") return "";
  const meant = nearest(
    given,
    issue.values.filter((value) => typeof value === "string"),
  );
  return meant === null ? "" : `: did you mean \`${meant}\`?`;
}

/** `ports[1]` for a list entry, the name of the field otherwise. */
function fieldOf(path: Path): string {
  const last = path.at(-1);
  if (last === undefined) return "document";
  return typeof last === "number" ? `${String(path.at(-2) ?? "")}[${last}]` : last;
}

function follow(root: z.core.$ZodType, value: unknown, path: Path) {
  let schema = unwrap(root).schema;
  let given = value;
  let missing = false;
  for (const step of path) {
    missing = !(typeof given === "object" && given !== null && Object.hasOwn(given, step));
    given = missing ? undefined : (given as Record<string | number, unknown>)[step];
    if (schema instanceof z.ZodObject) schema = schema.shape[step] ?? schema;
    else if (schema instanceof z.ZodArray) schema = schema.element;
    else if (schema instanceof z.ZodRecord) schema = schema.valueType;
    schema = unwrap(schema).schema;
  }
  return { schema, given, missing };
}

/** A map of fields, not a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
