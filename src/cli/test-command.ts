import { writeFile } from "node:fs/promises";
import { EXIT, UsageError } from "./failure.ts";
import { junitXml } from "./junit.ts";
import { type Format, paint, printAs, printable, table } from "./output.ts";
import { loadCases, runCases, type TestResult } from "./test-run.ts";

interface Options {
  readonly junit?: string;
  readonly only?: string;
  readonly output: Format;
}

/** Runs the cases below a folder and prints how each came out; exit status 1 if one did not as expected. */
export async function testCommand(path: string, options: Options): Promise<void> {
  const results = runCases(loadCases(path), options.only);
  if (results.length === 0) throw new UsageError(`no case has \`${options.only}\` in its name`);
  if (options.junit !== undefined) await writeFile(options.junit, junitXml(results));
  const failed = results.filter(({ problem }) => problem !== null).length;
  const document = { passed: results.length - failed, failed, cases: results.map(describe) };
  await printAs(options.output, document, () => resultsText(results, failed));
  process.exitCode = failed > 0 ? EXIT.failed : EXIT.ok;
}

function describe({ test, testCase, decision, problem }: TestResult): object {
  const { name, from, to, ip, expect, line } = testCase;
  return {
    test: test.name,
    name,
    file: test.file,
    line,
    from,
    to,
    ip,
    expect,
    got: decision,
    passed: problem === null,
    problem,
  };
}

function resultsText(results: readonly TestResult[], failed: number): string {
  const rows = results.map(({ test, testCase, decision, problem }) => [
    problem === null ? "ok" : "FAILED",
    test.name,
    testCase.name,
    decision === null ? "-" : decision.action,
    decision?.policy == null ? (decision?.reason ?? "-") : `${decision.policy} ${decision.rule}`,
  ]);
  const text = table([["RESULT", "TEST", "CASE", "ACTION", "BY"], ...rows], (cell, column) =>
    column !== 0 ? cell : paint(cell === "ok" ? "allow" : "deny", cell),
  );
  const problems = results.flatMap(({ test, testCase, problem }) =>
    problem === null ? [] : [`${printable(`${test.file}:${testCase.line}: ${testCase.name}: ${problem}`)}\n`],
  );
  const details = problems.length > 0 ? `\n${problems.join("")}` : "";
  return `${text}${details}\n${results.length - failed} passed, ${failed} failed\n`;
}
