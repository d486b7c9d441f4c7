import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { root } from "./bundle.ts";

const folder = mkdtempSync(join(tmpdir(), "sallyport-shim-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, "a place/bin"), { recursive: true });
cpSync(join(root, "bin/sallyport"), join(folder, "a place/bin/sallyport"));
symlinkSync("a place/bin/sallyport", join(folder, "relative"));
mkdirSync(join(folder, "elsewhere"));
symlinkSync("../relative", join(folder, "elsewhere/sallyport"));

const run = (path: string) => spawnSync(path, ["one two", "three"], { encoding: "utf8", timeout: 10_000 });

test("without a build it says what to do", () => {
  const { status, stderr } = run(join(folder, "elsewhere/sallyport"));
  expect(status).toBe(2);
  expect(stderr).toBe(`sallyport: \`${folder}/a place/dist/cli.js\` is missing; run \`make build\` first\n`);
});

test("it finds its bundle through links and passes the words on", () => {
  mkdirSync(join(folder, "a place/dist"));
  mkdirSync(join(folder, "a place/node_modules/.bin"), { recursive: true });
  symlinkSync(process.execPath, join(folder, "a place/node_modules/.bin/node"));
  writeFileSync(
    join(folder, "a place/dist/cli.js"),
    "console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;",
  );
  const { status, stdout } = run(join(folder, "elsewhere/sallyport"));
  expect({ status, stdout }).toEqual({ status: 7, stdout: '["one two","three"]\n' });
});

test.each([
  ["kubectl-sallyport", ["kubectl", "one two", "three"]],
  ["kubectl_complete-sallyport", ["kubectl", "__complete", "one two", "three"]],
])("as `%s` it is kubectl's plug-in", (name, words) => {
  expect(readlinkSync(join(root, "bin", name))).toBe("sallyport");
  symlinkSync("sallyport", join(folder, "a place/bin", name));
  expect(run(join(folder, "a place/bin", name)).stdout).toBe(`${JSON.stringify(words)}\n`);
});
