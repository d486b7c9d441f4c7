/** Writes `schemas/sallyport.schema.json` from `src/policy/schema.ts`: `node scripts/generate-schemas.ts`. A test fails when it is stale. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sallyportJsonSchema } from "../src/policy/json-schema.ts";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "schemas");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "sallyport.schema.json"), `${JSON.stringify(sallyportJsonSchema(), null, 2)}\n`);
