import * as z from "zod";
import type { ApiTwin, Check } from "./check.ts";
import { unwrap } from "./validate.ts";

export type OpenApi = Record<string, unknown>;

/**
 * A schema node as Kubernetes wants it (OpenAPI v3, structural): objects, arrays, maps and scalars only, alternatives never, the checks as
 * `x-kubernetes-validations`. Lists are atomic unless `listKeys` (meta) names the fields that tell their entries apart.
 * @throws Error at a node that has no such form
 */
export function toStructural(wrapped: z.core.$ZodType): OpenApi {
  const { schema, checks } = unwrap(wrapped);
  const { description, ...meta } = metaOf(wrapped);
  const validations = checks.flatMap(validation);
  return {
    ...(description === undefined ? {} : { description }),
    ...formOf(schema),
    ...meta,
    ...defaultOf(wrapped),
    ...(validations.length === 0 ? {} : { "x-kubernetes-validations": validations }),
  };
}

function formOf(schema: z.core.$ZodType): OpenApi {
  if (schema instanceof z.ZodObject) return objectForm(schema);
  if (schema instanceof z.ZodArray) return arrayForm(schema);
  if (schema instanceof z.ZodRecord) return { type: "object", additionalProperties: toStructural(schema.valueType) };
  if (schema instanceof z.ZodEnum) return { type: "string", enum: schema.options };
  if (schema instanceof z.ZodString) return stringForm(schema);
  if (schema instanceof z.ZodISODateTime) return { type: "string", format: "date-time" };
  if (schema instanceof z.ZodBoolean) return { type: "boolean" };
  if (schema instanceof z.ZodNumber) return numberForm(schema);
  if (schema instanceof z.ZodUnion) return { "x-kubernetes-int-or-string": true };
  throw new Error("a schema node that no structural schema can say");
}

function objectForm(schema: z.ZodObject): OpenApi {
  const fields = Object.entries<z.core.$ZodType>(schema.shape);
  const required = fields.filter(([, field]) => !mayBeLeftOut(field)).map(([name]) => name);
  return {
    type: "object",
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(fields.map(([name, field]) => [name, fieldForm(field)])),
  };
}

/**
 * A field of an object. The API server takes a field without a value (`to:`) for one that is left out, which often means "every": where it
 * may be null it is kept as it is written, for the agent to refuse.
 */
function fieldForm(field: z.core.$ZodType): OpenApi {
  const { schema } = unwrap(field);
  const widens = field instanceof z.ZodOptional || (schema instanceof z.ZodObject && mayBeLeftOut(field));
  return widens ? { ...toStructural(field), nullable: true } : toStructural(field);
}

function arrayForm(schema: z.ZodArray): OpenApi {
  const { minimum } = limitOf<{ readonly minimum: number }>(schema, "min_length");
  const { maximum } = limitOf<{ readonly maximum: number }>(schema, "max_length");
  const keys = (z.globalRegistry.get(schema) as Meta | undefined)?.listKeys;
  if (maximum === undefined) throw new Error("a list without a longest length");
  return {
    type: "array",
    "x-kubernetes-list-type": keys === undefined ? "atomic" : "map",
    ...(keys === undefined ? {} : { "x-kubernetes-list-map-keys": keys }),
    ...(minimum === undefined ? {} : { minItems: minimum }),
    maxItems: maximum,
    items: toStructural(schema.element),
  };
}

function stringForm(schema: z.ZodString): OpenApi {
  const { minLength, maxLength } = schema;
  const { pattern } = limitOf<{ readonly pattern: RegExp }>(schema, "string_format");
  return {
    type: "string",
    ...(minLength === null ? {} : { minLength }),
    ...(maxLength === null ? {} : { maxLength }),
    ...(pattern === undefined ? {} : { pattern: pattern.source }),
  };
}

/** What the (last) limit of that name says; nothing where there is none. */
function limitOf<L extends object>(schema: z.core.$ZodType, name: string): Partial<L> {
  const found = schema._zod.def.checks?.findLast((check) => check._zod.def.check === name);
  return (found?._zod.def ?? {}) as Partial<L>;
}

function numberForm({ minValue, maxValue }: z.ZodNumber): OpenApi {
  const bounded = (value: number | null): value is number => value !== null && Number.isSafeInteger(value);
  const given = (value: number | null) => bounded(value) && Math.abs(value) !== Number.MAX_SAFE_INTEGER;
  return {
    type: "integer",
    format: given(maxValue) && maxValue! < 2 ** 31 ? "int32" : "int64",
    ...(given(minValue) ? { minimum: minValue } : {}),
    ...(given(maxValue) ? { maximum: maxValue } : {}),
  };
}

function validation(check: Check<never>): OpenApi[] {
  const twin: ApiTwin = check.api;
  return twin.by === "cel" ? [{ rule: twin.rule, message: twin.message }] : [];
}

function mayBeLeftOut(field: z.core.$ZodType): boolean {
  return field instanceof z.ZodOptional || field instanceof z.ZodDefault || field instanceof z.ZodPrefault;
}

function defaultOf(wrapped: z.core.$ZodType): OpenApi {
  if (wrapped instanceof z.ZodDefault) return { default: wrapped.def.defaultValue };
  if (wrapped instanceof z.ZodPrefault) return { default: wrapped.def.defaultValue };
  return {};
}

interface Meta {
  readonly description?: string;
  readonly listKeys?: readonly string[];
  readonly [word: string]: unknown;
}

/** What a node and the nodes it wraps say of themselves, but for `listKeys`; the outer one's word counts. */
function metaOf(wrapped: z.core.$ZodType): Meta {
  const { id: _, listKeys: __, ...own } = (z.globalRegistry.get(wrapped) ?? {}) as Meta;
  const wraps = wrapped instanceof z.ZodOptional || wrapped instanceof z.ZodDefault || wrapped instanceof z.ZodPrefault;
  return wraps ? { ...metaOf(wrapped.unwrap()), ...own } : own;
}
