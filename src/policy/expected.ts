import * as z from "zod";
import { choice } from "./check.ts";

/** What a field takes, as part of a sentence: `one of …`, `a list`, `a whole number from 0 to 1000`. */
export function describeExpected(schema: z.core.$ZodType): string {
  if (schema instanceof z.ZodEnum) return choice(schema.options);
  if (schema instanceof z.ZodLiteral) return choice([...schema.values]);
  if (schema instanceof z.ZodNumber) return `a whole number${range(schema.minValue, schema.maxValue)}`;
  if (schema instanceof z.ZodBoolean) return "`true` or `false`";
  if (schema instanceof z.ZodArray) return "a list";
  if (schema instanceof z.ZodObject || schema instanceof z.ZodRecord) return "a map of fields";
  if (schema instanceof z.ZodString) return "text (in quotes if it looks like something else)";
  return "a value";
}

function range(least: number | null, most: number | null): string {
  if (least === null || most === null || !Number.isSafeInteger(least) || !Number.isSafeInteger(most)) return "";
  return Math.abs(most) === Number.MAX_SAFE_INTEGER ? "" : ` from ${least} to ${most}`;
}
