import type { LabSpec, PodSpec } from "./layout.ts";

const SCENARIOS: Readonly<Record<string, (nodes: number) => readonly PodSpec[]>> = { "two-apps": twoApps };

/** Two apps chosen by label, and the pods a sceptic adds: the same label elsewhere, no label, a second pod on another node. */
function twoApps(nodes: number): readonly PodSpec[] {
  const second = Math.min(2, nodes);
  const app1 = { "egress-ruleset": "app1" };
  return [
    { namespace: "app1-ns", name: "app1", labels: { app: "app1", ...app1 }, node: 1 },
    { namespace: "app1-ns", name: "app1-b", labels: { app: "app1", ...app1 }, node: second },
    { namespace: "app2-ns", name: "app2", labels: { app: "app2", "egress-ruleset": "app2" }, node: 1 },
    { namespace: "other-ns", name: "app1-twin", labels: { app: "twin", ...app1 }, node: 1 },
    { namespace: "plain-ns", name: "plain", labels: { app: "plain" }, node: 1 },
  ];
}

/** The lab of a named scenario. @throws Error one line for the user */
export function scenario(kind: string, name: string, nodes: number): LabSpec {
  const pods = SCENARIOS[kind];
  if (pods === undefined) {
    throw new Error(`scenario \`${kind}\` is not known: use one of ${Object.keys(SCENARIOS).join(", ")}`);
  }
  return { name, nodes, pods: pods(nodes) };
}
