import type * as z from "zod";
import type { AgentConfig } from "../model/config.ts";
import { type DestinationGroup, type Policy, policyRef, STANDARD_KINDS, type StandardKind } from "../model/policy.ts";
import { type Path, shown } from "./check.ts";
import { toConfig, toGroup, toPolicy } from "./convert.ts";
import { nearest } from "./nearest.ts";
import type { ProblemCode } from "./problem.ts";
import { API_VERSION, isKind, KIND_CHOICE, KIND_NAMES, KINDS, type Kind } from "./schema.ts";
import { readStandardDocument, STANDARD_VERSIONS } from "./standard/reading.ts";
import { isRecord, type Violation, validate } from "./validate.ts";

/** Something wrong with an object; `path` from the root of its document. */
export interface Fault {
  readonly code: ProblemCode;
  readonly message: string;
  readonly path: Path;
  readonly where: "key" | "value";
}

export type Content =
  | { readonly type: "policy"; readonly value: Policy }
  /** Null: it says nothing of what leaves its pods. */
  | { readonly type: "standard"; readonly kind: StandardKind; readonly value: Policy | null }
  | { readonly type: "group"; readonly value: DestinationGroup }
  | { readonly type: "config"; readonly value: AgentConfig };

/** One object of a document, which is the document itself or an item of its list, as far as it can be judged alone. */
export interface ReadObject {
  readonly path: Path;
  /**
   * `foreign`: a pod or a namespace, which may lie in the same folder; `known`: of a kind of Sallyport's; else the standard kind, which
   * counts where the AgentConfig says so.
   */
  readonly is: "foreign" | "known" | "unknown" | StandardKind;
  /** What no other object may be called, and the reference that names it in messages. */
  readonly name: { readonly key: string; readonly ref: string } | null;
  readonly faults: readonly Fault[];
  /** Null where something is wrong. */
  readonly content: Content | null;
}

/** Thousands of objects have it. */
const ROOT: Path = [];
const FAULTLESS: readonly Fault[] = [];

/** The objects of a document. Of a list of workloads only the first: they are reported once. */
export function readObjects(value: unknown): ReadObject[] {
  const list = isRecord(value) && value.kind === "List" && value.apiVersion === "v1" && Array.isArray(value.items);
  if (!list) return readObject(value, ROOT);
  const items = value.items as unknown[];
  if (isWorkload(items[0]) && items.every(isWorkload)) return readObject(items[0], ["items", 0]);
  return items.flatMap((item, index) => readObject(item, ["items", index]));
}

function readObject(value: unknown, path: Path): ReadObject[] {
  // `sallyport test` checks them.
  if (isRecord(value) && value.kind === "EgressTest" && value.apiVersion === API_VERSION) return [];
  const standard = standardKindOf(value);
  if (standard !== null) return [readStandard(standard, value as Record<string, unknown>, path)];
  const kind = kindOf(value, path);
  if (typeof kind !== "string") {
    return [{ path, is: isWorkload(value) ? "foreign" : "unknown", name: null, faults: [kind], content: null }];
  }
  const { content, faults } = readContent(kind, value, path);
  return [
    {
      path,
      is: "known",
      name: nameOf(value as Record<string, unknown>, kind),
      faults: faults.length === 0 ? FAULTLESS : faults,
      content,
    },
  ];
}

/** By kind alone: Sallyport reads one version of each. */
function standardKindOf(value: unknown): StandardKind | null {
  if (!isRecord(value) || typeof value.apiVersion !== "string") return null;
  const kind = STANDARD_KINDS.find((name) => name === value.kind) ?? null;
  const group = kind === null ? "" : STANDARD_VERSIONS[kind].split("/")[0];
  return value.apiVersion.split("/")[0] === group ? kind : null;
}

function readStandard(kind: StandardKind, document: Record<string, unknown>, path: Path): ReadObject {
  const { value, violations } = readStandardDocument(kind, document);
  const faults = violations.map((violation) => faultOf(violation, path));
  const { metadata } = document;
  const { name, namespace } = isRecord(metadata) ? metadata : {};
  const own = kind === "NetworkPolicy" && typeof namespace === "string" ? namespace : null;
  const ref = typeof name === "string" ? policyRef({ kind, name, namespace: own }) : null;
  return {
    path,
    is: kind,
    name: ref === null ? null : { key: ref, ref },
    faults: faults.length === 0 ? FAULTLESS : faults,
    content: faults.length === 0 ? { type: "standard", kind, value } : null,
  };
}

function faultOf({ code, message, path: below, where }: Violation, path: Path): Fault {
  return { code, message, path: [...path, ...below], where };
}

function readContent(kind: Kind, value: unknown, path: Path): Pick<ReadObject, "content" | "faults"> {
  const faults: Fault[] = [];
  const validated = <S extends z.ZodType>(schema: S): z.output<S> | null => {
    const result = validate(schema, value);
    if (result.ok) return result.value;
    for (const violation of result.violations) faults.push(faultOf(violation, path));
    return null;
  };
  let content: Content | null = null;
  switch (kind) {
    case "ClusterEgressPolicy":
    case "EgressPolicy": {
      const text = validated(KINDS[kind]);
      if (text !== null) content = { type: "policy", value: toPolicy(text) };
      break;
    }
    case "DestinationGroup": {
      const text = validated(KINDS[kind]);
      if (text !== null) content = { type: "group", value: toGroup(text.metadata.name, text.spec) };
      break;
    }
    case "AgentConfig": {
      const text = validated(KINDS[kind]);
      if (text !== null) content = { type: "config", value: toConfig(text.spec) };
    }
  }
  return { content, faults };
}

function kindOf(value: unknown, base: Path): Kind | Fault {
  const fault = (message: string, ...path: string[]): Fault => ({
    code: "UnknownKind",
    message,
    path: [...base, ...path],
    where: "value",
  });
  if (!isRecord(value)) {
    return fault(`a document must be a map with \`apiVersion\` and \`kind\`, not ${shown(value)}`);
  }
  const { apiVersion, kind } = value;
  if (kind === undefined) return fault(`\`kind\` is missing: give it ${KIND_CHOICE}`);
  if (!isKind(kind)) {
    const meant = typeof kind === "string" ? nearest(kind, KIND_NAMES) : null;
    const right = meant === null ? `Sallyport reads ${KIND_CHOICE}` : `did you mean \`${meant}\`?`;
    return fault(`unknown kind ${shown(kind)}: ${right}`, "kind");
  }
  if (apiVersion === API_VERSION) return kind;
  const what = apiVersion === undefined ? "`apiVersion` is missing" : `unknown apiVersion ${shown(apiVersion)}`;
  return fault(`${what}: write \`apiVersion: ${API_VERSION}\``, "apiVersion");
}

function nameOf({ metadata }: Record<string, unknown>, kind: Kind): ReadObject["name"] {
  if (!isRecord(metadata) || typeof metadata.name !== "string") return null;
  const namespace = kind === "EgressPolicy" && typeof metadata.namespace === "string" ? metadata.namespace : null;
  const ref = policyRef({ kind: kind as Policy["kind"], name: metadata.name, namespace });
  // Which of two configurations would hold is not for chance to say.
  return { key: kind === "AgentConfig" ? kind : ref, ref };
}

function isWorkload(value: unknown): boolean {
  return isRecord(value) && value.apiVersion === "v1" && (value.kind === "Pod" || value.kind === "Namespace");
}
