import { enableCompileCache } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The entry of the bundle: the compiled code of everything after it is kept, which halves the start.
const here = fileURLToPath(import.meta.url);
if (here.endsWith(join("dist", "cli.js"))) enableCompileCache(join(dirname(here), ".compile-cache"));

const { run } = await import("./run.ts");
await run(process.argv.slice(2));
