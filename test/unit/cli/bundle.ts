import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll } from "vitest";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The bundle as `make build` makes it, in a folder of its own for this test file. */
export function bundled(): { readonly folder: string; run(...words: string[]): SpawnSyncReturns<string> } {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-cli-"));
  const dist = join(folder, "dist");
  beforeAll(() => {
    execFileSync(process.execPath, [join(root, "scripts/build.ts"), "--outdir", dist], { timeout: 30_000 });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder,
    run: (...words) =>
      spawnSync(process.execPath, [join(dist, "cli.js"), ...words], {
        cwd: root,
        encoding: "utf8",
        timeout: 20_000,
        env: { ...process.env, NO_COLOR: "1" },
      }),
  };
}
