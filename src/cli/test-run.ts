import { readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Decision } from "../model/decision.ts";
import { type EgressTest, type EgressTestCase, readEgressTests } from "./egress-test.ts";
import { UsageError } from "./failure.ts";
import { judge } from "./judge.ts";
import { loadScene, type Scene } from "./scene.ts";

export interface TestResult {
  readonly test: EgressTest;
  readonly testCase: EgressTestCase;
  readonly decision: Decision | null;
  /** What is wrong, in one line; null: as expected. */
  readonly problem: string | null;
}

/** All cases below a folder, or of one file, in order of file names. @throws UsageError with every problem, a line each */
export async function loadCases(path: string): Promise<readonly EgressTest[]> {
  const tests: EgressTest[] = [];
  const problems: string[] = [];
  for (const file of testFiles(path)) {
    const read = readEgressTests(file, await readFile(file, "utf8"));
    tests.push(...read.tests);
    problems.push(...read.problems);
  }
  if (problems.length > 0) throw new UsageError(`the cases cannot be read:\n${problems.join("\n")}`);
  if (tests.length === 0) throw new UsageError(`no document of kind \`EgressTest\` in \`${path}\``);
  return tests;
}

function testFiles(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ya?ml|json)$/.test(name))
      .sort()
      .map((name) => join(path, name));
  } catch (error) {
    throw new UsageError(`\`${path}\` cannot be read: ${(error as Error).message}`);
  }
}

/** Decides every case whose name holds `only`. Scenes are loaded once each. @throws UsageError a scene cannot be loaded */
export async function runCases(tests: readonly EgressTest[], only = ""): Promise<readonly TestResult[]> {
  const scenes = new Map<string, Scene>();
  const results: TestResult[] = [];
  for (const test of tests) {
    const { policies, workloads, config } = test;
    const key = JSON.stringify([policies, workloads, config]);
    const scene = scenes.get(key) ?? (await loadScene({ policies, workloads, config }));
    scenes.set(key, scene);
    for (const testCase of test.cases) {
      if (testCase.name.includes(only)) results.push({ test, testCase, ...runCase(scene, testCase) });
    }
  }
  return results;
}

function runCase(scene: Scene, testCase: EgressTestCase): { decision: Decision | null; problem: string | null } {
  try {
    const { decision } = judge(scene, testCase.from, testCase.to, testCase.ip);
    return { decision, problem: difference(testCase, decision) };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { decision: null, problem: error.message };
  }
}

function difference({ expect }: EgressTestCase, decision: Decision): string | null {
  for (const field of ["action", "policy", "rule", "reason"] as const) {
    const wanted = expect[field];
    if (wanted === undefined || wanted === decision[field]) continue;
    return `expected ${field} \`${wanted}\`, got \`${decision[field]}\` (${describe(decision)})`;
  }
  return null;
}

function describe({ action, policy, rule, reason }: Decision): string {
  return `${action}${policy === null ? "" : ` by \`${rule}\` of \`${policy}\``}, ${reason}`;
}
