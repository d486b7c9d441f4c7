import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { explainDocument } from "../../../src/cli/explain.ts";
import { loadScene } from "../../../src/cli/scene.ts";
import { parseRow, policyText, type Scenario, workloadText } from "./scenario.ts";
import { MATCH } from "./scenarios-match.ts";
import { ORDER } from "./scenarios-order.ts";
import { STANDARD } from "./scenarios-standard.ts";

const folder = mkdtempSync(join(tmpdir(), "oracle-"));
const workloads = join(folder, "workloads.yaml");
writeFileSync(workloads, workloadText());
afterAll(() => rmSync(folder, { recursive: true }));

function sceneOf(scenario: Scenario, index: number) {
  const path = join(folder, `${index}.yaml`);
  writeFileSync(path, policyText(scenario));
  return loadScene({ policies: [path], workloads, config: null });
}

describe.each([...ORDER, ...MATCH, ...STANDARD].map((scenario, index) => ({ about: scenario.about, scenario, index })))(
  "$about",
  ({ scenario, index }) => {
    const scene = sceneOf(scenario, index);
    it.each(scenario.rows)("%s", (text) => {
      const row = parseRow(scenario, text);
      const { action, policy, rule, reason } = explainDocument(scene, row.from, row.to, row.ip);
      expect({ action, policy, rule }).toEqual({ action: row.action, policy: row.policy, rule: row.rule });
      if (row.reason !== null) expect(reason).toBe(row.reason);
    });
  },
);
