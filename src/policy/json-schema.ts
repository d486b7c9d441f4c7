import * as z from "zod";
import { KIND_NAMES, KINDS } from "./schema.ts";

type JsonSchema = Record<string, unknown>;

/**
 * JSON Schema (draft 2020-12) of the four kinds, for editors. It is looser than `loadDocuments` where a named check decides, and
 * as strict about unknown fields.
 */
export function sallyportJsonSchema(): JsonSchema {
  const definitions = KIND_NAMES.map((kind) => {
    const schema = z.toJSONSchema(KINDS[kind], {
      io: "input",
      override: ({ jsonSchema }) => closeObjects(jsonSchema as JsonSchema),
    });
    const { $schema: _, ...rest } = schema as JsonSchema;
    return [kind, { title: kind, ...rest }] as const;
  });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://sallyport.dev/schemas/sallyport.schema.json",
    title: "Sallyport documents",
    oneOf: KIND_NAMES.map((kind) => ({ $ref: `#/$defs/${kind}` })),
    $defs: Object.fromEntries(definitions),
  };
}

function closeObjects(schema: JsonSchema): void {
  if (schema.type === "object" && schema.properties !== undefined) schema.additionalProperties = false;
  // JSON Schema says "a number or a string" without alternatives, as CRDs must (int-or-string).
  if (Array.isArray(schema.anyOf) && schema.default !== undefined) {
    schema.type = ["integer", "string"];
    delete schema.anyOf;
  }
  // zod says what every JSON integer is.
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}
