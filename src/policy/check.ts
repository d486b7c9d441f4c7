import * as z from "zod";

// Validators made with `new Function` cost more to make than a few documents take to check, and strict pages refuse them.
z.config({ jitless: true });

export type Path = readonly (string | number)[];

/** Something wrong below the value that was checked; `message` is one line. */
export interface Finding {
  readonly path: Path;
  readonly message: string;
  /** It is right as it is written, and this version does not enforce it. */
  readonly notSupported?: true;
}

/** How the API server holds to the same rule (docs/adr/0015-custom-resources.md). */
export type ApiTwin =
  /** By an expression over the checked value, after defaults; `message` is one line. */
  | { readonly by: "cel"; readonly rule: string; readonly message: string }
  /** By `pattern`, `not` or limits of the schema node itself, which accept exactly what the check does. */
  | { readonly by: "schema" }
  /** It cannot: who reads the document judges it, and its status says so. */
  | { readonly by: "status"; readonly why: string };

/**
 * A rule that a structural schema cannot say (DESIGN §3, FIELD-NOTES). It is given the value as written, before defaults,
 * and only if its structure is right.
 */
export interface Check<T> {
  readonly name: string;
  readonly api: ApiTwin;
  /** Asked whatever the structure is, and before what lies below: where it finds something, that is not looked at. It would cost too much. */
  readonly first?: true;
  find(value: T): Finding | readonly Finding[] | null;
}

/** The checks of each schema node; the CRDs take their expressions from here. */
export const CHECKS = z.registry<{ readonly checks: readonly Check<never>[] }>();

/** Attaches checks to a schema node. */
export function checked<S extends z.ZodType>(schema: S, ...checks: readonly Check<z.input<S>>[]): S {
  CHECKS.add(schema, { checks });
  return schema;
}

/** A finding at the checked value itself, or at a field of it. */
export function at(message: string, ...path: (string | number)[]): Finding {
  return { path, message };
}

/** A value in backticks, cut and kept to one line. */
export function shown(value: unknown): string {
  return `\`${oneLine(typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)), 60)}\``;
}

/** Text of strangers as part of a message: no control characters, at most `longest` characters. */
export function oneLine(text: string, longest: number): string {
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return cut.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, "0")}`);
}

/** `a`, `b` or `c`, each in backticks. */
export function choice(values: readonly unknown[]): string {
  const all = values.map((value) => `\`${value}\``);
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`;
}
