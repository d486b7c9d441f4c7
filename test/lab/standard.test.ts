import { afterAll, beforeAll, expect, test } from "vitest";
import { type ProbeResult, tryToReach } from "../../src/lab/probe.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";
import {
  STANDARD_CASES,
  STANDARD_DOCUMENTS,
  STANDARD_PODS,
  STANDARD_SOURCES,
  type StandardCase,
} from "../support/standard-cases.ts";

/** The table that `explain` decides (test/unit/policy-standard/cases.test.ts), with real clients. */
const AT_ONCE = 4;
let world: AgentLab;
const results = new Map<StandardCase, ProbeResult>();

beforeAll(async () => {
  world = await AgentLab.up(`std${process.pid % 10_000}x`, {
    policies: { "standard.yaml": STANDARD_DOCUMENTS },
    pods: STANDARD_PODS,
  });
  await world.start({ sources: STANDARD_SOURCES });
  const left = [...STANDARD_CASES];
  const one = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      results.set(next, await tryToReach(world.lab, next));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}, 180_000);

afterAll(() => world?.down());

test.each(STANDARD_CASES)("$from $to $ip $family: $action", (row) => {
  const result = results.get(row);
  expect(result?.reached, JSON.stringify(result)).toBe(row.action === "Allow");
});

test("flow records name the policies and rules", async () => {
  const named = STANDARD_CASES.flatMap(({ from, action, by }) =>
    by === null ? [] : [`${from} ${action} ${by.join(" ")}`],
  );
  const recorded = () =>
    new Set(
      world
        .records()
        .map(
          ({ workload, action, policy, rule }) =>
            `${workload?.namespace}/${workload?.name} ${action} ${policy} ${rule}`,
        ),
    );
  await world.until("record of every rule", () => named.every((line) => recorded().has(line)));
});

test("a change of a standard policy decides open connections anew", async () => {
  const slow = ["curl", "-sN", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://api.github.com/slow"];
  const open = world.lab.exec("build/runner", slow, { timeoutMs: 30_000 });
  await world.until("open connection", () =>
    world.records().some((record) => record.destination?.name === "api.github.com"),
  );
  await sleep(500);
  const narrower = STANDARD_DOCUMENTS.replace('["*.github.com"]', '["api.weather.gov"]');
  await world.applied(() => world.write("standard.yaml", narrower));
  const { status, stdout } = await open;
  // It had begun, and did not last until its end (0) or its time limit (28).
  expect(stdout).toBe("200");
  expect([0, 28]).not.toContain(status);
  expect(await world.get("build/runner", "https://api.github.com/")).toMatch(/^curl/);
});

test("a standard policy that is gone holds nobody", async () => {
  const others = STANDARD_DOCUMENTS.slice(STANDARD_DOCUMENTS.indexOf("apiVersion: policy.networking"));
  await world.applied(() => world.write("standard.yaml", others));
  expect(await world.get("silent/job", "https://api.github.com/")).toBe("200");
});
