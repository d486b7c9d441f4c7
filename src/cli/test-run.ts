import type { Decision } from "../model/decision.ts";
import { type EgressTest, type EgressTestCase, readEgressTests } from "./egress-test.ts";
import { UsageError } from "./failure.ts";
import { judge } from "./judge.ts";
import { loadScene, readDocuments, type Scene } from "./scene.ts";

export interface TestResult {
  readonly test: EgressTest;
  readonly testCase: EgressTestCase;
  readonly decision: Decision | null;
  /** What is wrong, in one line; null: as expected. */
  readonly problem: string | null;
}

/** All cases below a folder, or of one file, in order of file names. @throws UsageError with every problem, a line each */
export function loadCases(path: string): readonly EgressTest[] {
  const tests: EgressTest[] = [];
  const problems: string[] = [];
  for (const file of readDocuments([path])) {
    const read = readEgressTests(file.path, file.text);
    tests.push(...read.tests);
    problems.push(...read.problems);
  }
  if (problems.length > 0) throw new UsageError(`the cases cannot be read:\n${problems.join("\n")}`);
  if (tests.length === 0) throw new UsageError(`no document of kind \`EgressTest\` in \`${path}\``);
  return tests;
}

/** Decides every case whose name holds `only`. Scenes are loaded once each. @throws UsageError a scene cannot be loaded */
export function runCases(tests: readonly EgressTest[], only = ""): readonly TestResult[] {
  const scenes = new Map<string, Scene>();
  const results: TestResult[] = [];
  for (const test of tests) {
    const { policies, workloads, config } = test;
    const key = JSON.stringify([policies, workloads, config]);
    const scene = scenes.get(key) ?? loadScene({ policies, workloads, config });
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
