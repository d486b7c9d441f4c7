import { expect, test } from "vitest";
import { decide } from "../../../src/decide/decide.ts";
import { gateName } from "../../../src/decide/gate.ts";
import { compileProgram } from "../../../src/program/compile.ts";
import { openProgram } from "../../../src/program/program.ts";
import { address, agentConfig, facts, labels, policy, rule, workload } from "../../support/cases.ts";

const APP = { namespaceSelector: null, podSelector: labels({ app: "front" }), serviceAccounts: null };
const front = (id: number, ip: string) =>
  workload(id, `team/w${id}`, { labels: { app: "front" }, addresses: [address(ip)] });
const WORKLOADS = [front(1, "10.244.0.1"), front(2, "10.244.0.2"), workload(3, "team/other", {})];
const POLICIES = [
  policy("front", [rule("open", "Allow", { cidrs: ["192.0.2.0/24"] })], { subject: APP }),
  policy("trial", [rule("no", "Deny", { cidrs: ["192.0.2.7/32"] })], { subject: APP, mode: "Audit", priority: 1 }),
];
const program = openProgram(
  compileProgram({
    ...{ epoch: 1, policies: POLICIES, groups: [], workloads: WORKLOADS, config: agentConfig() },
    bypassed: new Set([1, 3]),
  }),
);
const [one, two, three] = [1, 2, 3].map((id) => program.classOf(id)) as [number, number, number];
const denied = facts({ address: address("203.0.113.66"), port: 443 });

test("nothing is denied to a workload whose enforcement is set aside; its replica is held as before", () => {
  expect(decide(program, one, denied, "enforce")).toMatchObject({ action: "Allow", reason: "Bypassed" });
  expect(decide(program, two, denied, "enforce")).toMatchObject({ action: "Deny", reason: "DefaultDeny" });
  expect(gateName(program, one, "a.test")).toMatchObject({ action: "Allow" });
  expect(gateName(program, two, "a.test")).toMatchObject({ action: "Deny" });
  expect([program.isolated(one), program.selected(one), program.bypassed(one)]).toEqual([false, false, true]);
});

test("what it would have been denied is told, as by policies in Audit mode", () => {
  expect(decide(program, one, denied, "all")).toMatchObject({ action: "Deny", reason: "DefaultDeny" });
  const open = facts({ address: address("192.0.2.9"), port: 443 });
  expect(decide(program, one, open, "all")).toMatchObject({ action: "Allow", rule: "open" });
  expect(program.audited(one)).toBe(true);
});

test("a workload that no policy would have held is not said to be bypassed", () => {
  expect(decide(program, three, denied, "enforce")).toMatchObject({ action: "Allow", reason: "NotIsolated" });
});
