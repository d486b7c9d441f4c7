/** Writes `deploy/crds` from `src/policy`: `make crds`. A test fails when a file is stale. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { customResourceFiles } from "../src/policy/custom-resources.ts";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "deploy", "crds");
mkdirSync(folder, { recursive: true });
const files = customResourceFiles();
for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(join(folder, name));
for (const [name, text] of files) writeFileSync(join(folder, name), text);
