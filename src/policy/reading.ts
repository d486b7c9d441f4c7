import type * as z from "zod";
import type { AgentConfig } from "../model/config.ts";
import { type DestinationGroup, type Policy, policyRef } from "../model/policy.ts";
import { type Path, shown } from "./check.ts";
import { toConfig, toGroup, toPolicy } from "./convert.ts";
import { nearest } from "./nearest.ts";
import type { ProblemCode } from "./problem.ts";
import { API_VERSION, isKind, KIND_CHOICE, KIND_NAMES, KINDS, type Kind } from "./schema.ts";
import { isRecord, validate } from "./validate.ts";

/** Something wrong with an object; `path` from the root of its document. */
export interface Fault {
  readonly code: ProblemCode;
  readonly message: string;
  readonly path: Path;
  readonly where: "key" | "value";
}

export type Content =
  | { readonly type: "policy"; readonly value: Policy }
  | { readonly type: "group"; readonly value: DestinationGroup }
  | { readonly type: "config"; readonly value: AgentConfig };

/** One object of a document, which is the document itself or an item of its list, as far as it can be judged alone. */
export interface ReadObject {
  readonly path: Path;
  /** `foreign`: a pod or a namespace, which may lie in the same folder; `known`: of a kind of Sallyport's. */
  readonly is: "foreign" | "known" | "unknown";
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

function readContent(kind: Kind, value: unknown, path: Path): Pick<ReadObject, "content" | "faults"> {
  const faults: Fault[] = [];
  const validated = <S extends z.ZodType>(schema: S): z.output<S> | null => {
    const result = validate(schema, value);
    if (result.ok) return result.value;
    for (const { code, message, path: below, where } of result.violations) {
      faults.push({ code, message, path: [...path, ...below], where });
    }
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
