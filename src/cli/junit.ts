import type { TestResult } from "./test-run.ts";

/** The results as JUnit XML, one test suite an EgressTest document. */
export function junitXml(results: readonly TestResult[]): string {
  const suites = Map.groupBy(results, ({ test }) => test);
  const total = { tests: results.length, failures: results.filter(({ problem }) => problem !== null).length };
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>', `<testsuites name="sallyport"${counts(total)}>`];
  for (const [test, rows] of suites) {
    const failures = rows.filter(({ problem }) => problem !== null).length;
    lines.push(
      `  <testsuite name="${escapeXml(test.name)}" file="${escapeXml(test.file)}"${counts({ tests: rows.length, failures })}>`,
    );
    for (const { testCase, problem } of rows) {
      const open = `    <testcase classname="${escapeXml(test.name)}" name="${escapeXml(testCase.name)}" file="${escapeXml(test.file)}" line="${testCase.line}"`;
      if (problem === null) lines.push(`${open}/>`);
      else lines.push(`${open}>`, `      <failure message="${escapeXml(problem)}"/>`, "    </testcase>");
    }
    lines.push("  </testsuite>");
  }
  return `${lines.join("\n")}\n</testsuites>\n`;
}

function counts({ tests, failures }: { readonly tests: number; readonly failures: number }): string {
  return ` tests="${tests}" failures="${failures}" errors="0" skipped="0"`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** Text for an attribute; characters that XML 1.0 cannot hold become `?`. */
function escapeXml(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
    .replace(/[\n\r\t]/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "?");
}
