import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { explainDocument } from "../../../src/cli/explain.ts";
import { loadScene } from "../../../src/cli/scene.ts";
import { STANDARD_CASES, STANDARD_DOCUMENTS, STANDARD_PODS, STANDARD_SOURCES } from "../../support/standard-cases.ts";

/** The table that the lab tries (test/lab/standard.test.ts), on paper. */
const folder = mkdtempSync(join(tmpdir(), "standard-"));
afterAll(() => rmSync(folder, { recursive: true }));

const namespaces = [...new Set(STANDARD_PODS.map(({ namespace }) => namespace))];
const items = [
  ...namespaces.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
  ...STANDARD_PODS.map(({ namespace, name, labels }, index) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, uid: name, labels },
    status: { phase: "Running", podIP: `10.244.1.${index + 10}` },
  })),
];
const spec = {
  resolvers: ["10.96.0.10"],
  clusterCIDRs: ["10.244.0.0/16", "10.96.0.0/12"],
  podCIDRs: ["10.244.1.0/24"],
  sources: STANDARD_SOURCES,
};
const config = { apiVersion: "sallyport.dev/v1alpha1", kind: "AgentConfig", metadata: { name: "default" }, spec };
const files = { workloads: { apiVersion: "v1", kind: "List", items }, config };
for (const [name, value] of Object.entries(files)) writeFileSync(join(folder, `${name}.json`), JSON.stringify(value));
writeFileSync(join(folder, "policies.yaml"), STANDARD_DOCUMENTS);
const path = (name: string) => join(folder, name);
const scene = loadScene({
  policies: [path("policies.yaml")],
  workloads: path("workloads.json"),
  config: path("config.json"),
});

test.each(STANDARD_CASES)("$from $to $ip $family: $action", ({ from, to, ip, action, by }) => {
  const said = explainDocument(scene, from, to, ip ?? null);
  const [policy, rule] = by ?? [null, null];
  expect([said.action, said.policy, said.rule]).toEqual([action, policy, rule]);
});
