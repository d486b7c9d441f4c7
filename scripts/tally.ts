/**
 * Adds up vitest's JSON reports: `node scripts/tally.ts [--failed N] REPORT...`. Prints what failed, every skipped test
 * that test/skipped.txt does not excuse, and `N passed, N failed[, N skipped]`. Exit status 1 if anything failed.
 */
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

interface Report {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values, positionals } = parseArgs({
  options: { failed: { type: "string", default: "0" } },
  allowPositionals: true,
});
const excuses = readExcuses(join(root, "test/skipped.txt"));
const count = { passed: 0, failed: Number(values.failed), skipped: 0 };

for (const path of positionals) {
  const failedBefore = count.failed;
  const report = readReport(path);
  for (const file of report?.testResults ?? []) addFile(file);
  // A run that broke outside any test (an unhandled error, no report at all) is a failure too.
  if ((report?.success !== true || !endedWell(path)) && count.failed === failedBefore)
    fail(`${path}: the run failed outside its tests`);
}
const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
console.log(`${count.passed} passed, ${count.failed} failed${skipped}`);
process.exitCode = count.failed > 0 || count.passed === 0 ? 1 : 0;

function addFile(file: Report["testResults"][number]): void {
  const path = relative(root, file.name);
  if (file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")) {
    fail(`${path}: ${file.message?.split("\n")[0] ?? "could not be run"}`);
  }
  for (const test of file.assertionResults) {
    const name = `${path} > ${test.fullName}`;
    if (test.status === "passed") count.passed++;
    else if (test.status === "failed") fail(name);
    else if (excuses.has(name)) count.skipped++;
    else fail(`${name}: skipped, and test/skipped.txt does not say why`);
  }
}

function fail(what: string): void {
  count.failed++;
  console.log(`failed: ${what}`);
}

/** vitest calls a run with an unhandled error a success in its report; its exit status, kept beside it, does not. */
function endedWell(report: string): boolean {
  try {
    return readFileSync(report.replace(/\.json$/, ".status"), "utf8").trim() === "0";
  } catch {
    return false;
  }
}

function readReport(path: string): Report | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Report;
  } catch {
    return null;
  }
}

/** Lines `path > full name of the test :: reason`; a line without a reason excuses nothing. */
function readExcuses(path: string): ReadonlySet<string> {
  const names = new Set<string>();
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [name, reason] = line.split(" :: ");
    if (name !== undefined && !name.startsWith("#") && reason?.trim()) names.add(name.trim());
  }
  return names;
}
