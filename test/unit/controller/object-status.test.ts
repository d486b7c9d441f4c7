import { describe, expect, test } from "vitest";
import { type NodeEntry, NodeReports } from "../../../src/controller/node-reports.ts";
import { type Judgement, objectStatus } from "../../../src/controller/object-status.ts";
import type { PolicyStatusText } from "../../../src/policy/status-schema.ts";

const UID = "uid-1";
const GOOD: Judgement = { errors: [], warnings: [], shadows: [] };
const T1 = "2030-01-01T00:00:00Z";
const T2 = "2030-01-01T00:05:00Z";

type Says = Partial<NodeEntry> & { readonly node: string };

function reportsOf(says: readonly Says[]): NodeReports {
  const reports = new NodeReports();
  for (const { node, ...entry } of says) {
    const full = {
      kind: "EgressPolicy",
      namespace: "a",
      name: "p",
      uid: UID,
      generation: 2,
      programmed: true,
      ...entry,
    } as const;
    reports.set(node, { policies: [full] });
  }
  return reports;
}

function shown(judgement: Judgement, says: readonly Says[], before: PolicyStatusText = {}, now = T1): string[] {
  const judged = { generation: 2, judgement, reports: reportsOf(says).of(UID), selects: true };
  const { conditions = [], selectedPods } = objectStatus(judged, before, now);
  return [
    ...conditions.map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`),
    `pods ${selectedPods}`,
  ];
}

describe("a policy's status says whether it can be used, and how many of the nodes it concerns enforce it", () => {
  const rows: readonly [string, Judgement, readonly Says[], readonly string[]][] = [
    [
      "no node has a pod of its",
      GOOD,
      [],
      ["Accepted=True Valid: can be used", "Programmed=True NoNodes: 0/0 nodes", "pods 0"],
    ],
    [
      "all nodes have it",
      GOOD,
      [
        { node: "n1", selectedPods: 3 },
        { node: "n2", selectedPods: 1 },
      ],
      ["Accepted=True Valid: can be used", "Programmed=True Programmed: 2/2 nodes", "pods 4"],
    ],
    [
      "a node is behind",
      GOOD,
      [{ node: "n1" }, { node: "n2", generation: 1, selectedPods: 1 }],
      ["Accepted=True Valid: can be used", "Programmed=False Pending: 1/2 nodes; n2 has generation 1", "pods 1"],
    ],
    [
      "an older agent does not know a field",
      GOOD,
      [{ node: "n1" }, { node: "n2", programmed: false, reason: "UnknownField", message: "spec.rules[0].quic" }],
      [
        "Accepted=True Valid: can be used",
        "Programmed=False UnknownField: 1/2 nodes; n2: spec.rules[0].quic",
        "pods 0",
      ],
    ],
    [
      "its author should know something",
      { ...GOOD, warnings: ["rule `b` never decides"] },
      [{ node: "n1" }],
      ["Accepted=True Warnings: rule `b` never decides", "Programmed=True Programmed: 1/1 nodes", "pods 0"],
    ],
    [
      "it cannot be used",
      { ...GOOD, errors: ["no rule `x`"] },
      [{ node: "n1", generation: 1 }],
      ["Accepted=False Invalid: no rule `x`", "Programmed=False Invalid: 0/1 nodes; n1 has generation 1", "pods 0"],
    ],
    [
      "many nodes refuse",
      GOOD,
      ["a", "b", "c", "d", "e"].map((node) => ({ node, programmed: false, reason: "Invalid" })),
      [
        "Accepted=True Valid: can be used",
        "Programmed=False Invalid: 0/5 nodes; a: Invalid; b: Invalid; c: Invalid; and 2 more",
        "pods 0",
      ],
    ],
  ];
  test.each(rows)("%s", (_, judgement, says, expected) => {
    expect(shown(judgement, says)).toEqual(expected);
  });
});

test("rules that never decide because of other policies are said while there are some", () => {
  const shadow = {
    rule: "api",
    policy: "ClusterEgressPolicy/ceiling",
    by: "rest",
    action: "Deny",
    conflict: true,
  } as const;
  const again = { ...shadow, rule: "twice", by: "api", action: "Allow", conflict: false } as const;
  const of = (...shadows: Judgement["shadows"]) => shown({ ...GOOD, shadows }, [{ node: "n1" }]);
  expect(of(again, shadow)[2]).toBe(
    "Shadowed=True Conflict: rule `twice` never decides: rule `api` of `ClusterEgressPolicy/ceiling`, which comes before, allows all of it; " +
      "rule `api` never decides: rule `rest` of `ClusterEgressPolicy/ceiling`, which comes before, denies all of it",
  );
  expect(of(again)[2]).toMatch(/^Shadowed=True Redundant: /);
  expect(of(...Array.from({ length: 20 }, () => again))[2]).toMatch(/; and 4 more$/);
  const judged = { generation: 1, judgement: { ...GOOD, shadows: [shadow] }, reports: new Map(), selects: true };
  const before = objectStatus(judged, {}, T1);
  expect(before.conditions?.map(({ type }) => type)).toContain("Shadowed");
  const after = objectStatus({ ...judged, judgement: GOOD }, before, T2);
  expect(after.conditions?.map(({ type }) => type)).toEqual(["Accepted", "Programmed"]);
});

test("a condition keeps its time while its status does, and those of others stay", () => {
  const other = { type: "Reviewed", status: "True", reason: "ByHand", message: "", lastTransitionTime: T1 } as const;
  const judged = (says: Says[]) => ({
    generation: 2,
    judgement: GOOD,
    reports: reportsOf(says).of(UID),
    selects: true,
  });
  const first = objectStatus(judged([{ node: "n1" }]), { conditions: [other] }, T1);
  const same = objectStatus(judged([{ node: "n1" }, { node: "n2" }]), first, T2);
  expect(same.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).toEqual([
    ["Accepted", T1],
    ["Programmed", T1],
    ["Reviewed", T1],
  ]);
  const behind = objectStatus(judged([{ node: "n1", generation: 1 }]), same, T2);
  expect(behind.conditions?.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual([T1, T2, T1]);
});

test("only the objects of which a node says something else are looked at again", () => {
  const entry = (uid: string, generation: number): NodeEntry => ({
    kind: "EgressPolicy",
    name: uid,
    uid,
    generation,
    programmed: true,
  });
  const reports = new NodeReports();
  expect(reports.set("n1", { policies: [entry("a", 1), entry("b", 1)] })).toEqual(new Set(["a", "b"]));
  expect(reports.set("n1", { policies: [entry("a", 1), entry("b", 2), entry("c", 1)] })).toEqual(new Set(["b", "c"]));
  expect(reports.set("n1", { policies: [entry("a", 1)] })).toEqual(new Set(["b", "c"]));
  expect([...reports.of("b").keys()]).toEqual([]);
  expect(reports.delete("n1")).toEqual(new Set(["a"]));
  expect(reports.of("a").size).toBe(0);
});
