import { expect, test } from "vitest";
import { coverageReport, type Finding } from "../../../src/agent/coverage/report.ts";
import { type Known, NEW, settle } from "../../../src/agent/coverage/settle.ts";
import type { Workload } from "../../../src/model/workload.ts";
import { loadDocuments } from "../../../src/policy/documents.ts";

const pod = (key: string, labels: Record<string, string> = {}): Workload => {
  const [namespace = "", name = ""] = key.split("/");
  const rest = { id: 1, uid: key, namespaceLabels: {}, serviceAccount: "default", addresses: [], node: "node1" };
  return { ...rest, namespace, name, labels };
};
const LAN: Finding = { state: "NotRoutedByNode", message: "by `eth0`" };
const HOST: Finding = { state: "HostNetwork", message: "shared" };
const CROSSING: Finding = { state: "crossing", message: "" };

const policy = (name: string, mode: string, subject: string) => `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: ${name} }
spec: { tier: Admin, mode: ${mode}, defaultDeny: true, subject: ${subject}, rules: [] }
`;
const documents = [
  policy("audited", "Audit", "{ podSelector: { matchLabels: { role: tried } } }"),
  policy("held", "Enforce", "{ podSelector: { matchLabels: { role: held } } }"),
].join("---");
const { policies } = loadDocuments([{ path: "p.yaml", text: documents }]);

test("pods that policies select come first; those of the system only where one does", () => {
  const report = coverageReport(
    [
      [pod("b/host"), HOST],
      [pod("c/lan", { role: "held" }), LAN],
      [pod("a/tried", { role: "tried" }), LAN],
      [pod("kube-system/proxy"), HOST],
      [pod("kube-system/agent", { role: "held" }), HOST],
      [pod("d/well"), CROSSING],
      [pod("d/outside"), { ...CROSSING, openAtStart: true }],
      [pod("d/new"), NEW],
    ],
    policies,
    ["kube-system"],
  );
  expect(report.notEnforced.map(({ namespace, pod: name, reason }) => `${namespace}/${name} ${reason}`)).toEqual([
    "c/lan NotRoutedByNode",
    "kube-system/agent HostNetwork",
    "a/tried NotRoutedByNode",
    "b/host HostNetwork",
  ]);
  expect(report.notEnforced[0]?.message).toBe("`ClusterEgressPolicy/held` selects it in vain: by `eth0`");
  expect(report.notEnforced[2]?.message).toBe("by `eth0`");
  expect(report).toMatchObject({
    pods: 7,
    crossing: 2,
    unknown: 1,
    openAtStart: 1,
    reasons: { NotRoutedByNode: 2, HostNetwork: 2 },
  });
});

/** State by state, a second each: `!` crossing found, `x` not routed found. */
function states(looks: string): string {
  let known: Known = NEW;
  return [...looks]
    .map((look, second) => {
      known = settle(known, look === "!" ? null : LAN, 1_000 * (second + 1));
      return { unknown: "u", crossing: "c", NotRoutedByNode: "N" }[known.state as string];
    })
    .join("");
}

test.each([
  ["!!!", "ccc"],
  ["xxxxxxx", "uuuuuNN"],
  ["xx!xxxxxx", "uuccccccN"],
  ["!xxxxx!", "ccccccc"],
  ["!xxxxxxx!", "ccccccNNc"],
])("what is found as %s is told as %s", (looks, told) => {
  expect(states(looks)).toBe(told);
});
