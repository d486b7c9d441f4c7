import { describe, expect, test } from "vitest";
import { CoverageCounter } from "../../../src/cli/plugin/coverage-count.ts";
import { destinationUrl } from "../../../src/cli/plugin/destination-word.ts";
import { podName } from "../../../src/cli/plugin/pod-name.ts";
import { readClusterPolicy } from "../../../src/policy/cluster-reading.ts";
import { readPod } from "../../../src/workloads/pod.ts";
import { podOf, policyOf } from "../../support/plugin-objects.ts";

test.each<readonly [string, object, string]>([
  ["https://a/b", {}, "https://a/b"],
  ["a.example", {}, "https://a.example"],
  ["a.example/path", {}, "https://a.example/path"],
  ["a.example", { port: "443" }, "https://a.example:443"],
  ["a.example", { port: "22" }, "tcp://a.example:22"],
  ["a.example/x", { port: "8080", proto: "http" }, "http://a.example:8080/x"],
  ["a.example", { proto: "dns" }, "dns://a.example"],
  ["2001:db8::1", { port: "22" }, "tcp://[2001:db8::1]:22"],
])("destination %s %j: %s", (text, options, url) => {
  expect(destinationUrl(text, options)).toBe(url);
});

test("a destination that is none", () => {
  expect(() => destinationUrl("a", { port: "x" })).toThrow("`--port x`");
  expect(() => destinationUrl("tcp://a:1", { port: "2" })).toThrow("leave `--proto` and `--port` out");
});

describe("pod names", () => {
  test.each<readonly [string, string | undefined, string]>([
    ["app", undefined, "usual/app"],
    ["app", "ns", "ns/app"],
    ["pod/app", "ns", "ns/app"],
    ["other/app", undefined, "other/app"],
    ["ns/app", "ns", "ns/app"],
  ])("%s, -n %s: %s", (text, said, expected) => {
    const { namespace, name } = podName(text, said, "usual");
    expect(`${namespace}/${name}`).toBe(expected);
  });

  test.each(["a/b/c", "A", "", "../x", "a/b?x", "a/"])("`%s` is none", (text) => {
    expect(() => podName(text, undefined, "usual")).toThrow("names no pod");
  });
});

describe("coverage of many pods", () => {
  const policy = (name: string, spec: object, namespace?: string) => {
    const object = policyOf(name, spec) as { metadata: object; spec: object };
    const kind = namespace === undefined ? "ClusterEgressPolicy" : "EgressPolicy";
    const { tier: _, ...own } = object.spec as { tier: string };
    const written = {
      metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
      spec: namespace === undefined ? object.spec : own,
    };
    const { value, flaw } = readClusterPolicy(kind, written);
    expect(flaw).toBe(null);
    return value;
  };
  const labels = (app: string) => ({ subject: { podSelector: { matchLabels: { app } } } });
  const node = {
    node: "n1",
    ready: true,
    reason: null,
    agentVersion: null,
    observedAt: null,
    notEnforcedPods: 0,
    notEnforced: [],
    bypasses: [],
    denials: { count: 0, pods: 0, most: [] },
    remarks: [],
  };
  const counter = () =>
    new CoverageCounter({
      policies: [
        policy("guard", { ...labels("guarded"), defaultDeny: false }),
        policy("trial", { ...labels("tried"), mode: "Audit" }),
        policy("own", labels("own"), "ns"),
      ],
      systemNamespaces: ["kube-system"],
      nodes: [node],
      namespaceLabels: new Map(),
    });
  const add = (to: CoverageCounter, ...pods: object[]) => {
    for (const object of pods) {
      const pod = readPod(object as Parameters<typeof readPod>[0]);
      if (typeof pod === "string") throw new Error(pod);
      to.add(pod);
    }
  };

  test("by the policies of their namespace and of the cluster", () => {
    const all = counter();
    const app = (namespace: string, app: string) => podOf(namespace, app, { labels: { app } });
    add(all, app("ns", "own"), app("other", "own"), app("ns", "guarded"), app("ns", "tried"), app("ns", "none"));
    expect(all.result.total).toMatchObject({ pods: 5, isolated: 1, restricted: 1, observed: 3 });
  });

  test("what is kept does not grow with them", () => {
    const all = counter();
    for (let i = 0; i < 5_000; i++)
      add(all, podOf("ns", `p${i}`, { node: "far", labels: { app: "own", i: String(i) } }));
    const { total, uncovered, uncoveredLeftOut } = all.result;
    expect({ pods: total.pods, noAgent: total.noAgent }).toEqual({ pods: 5_000, noAgent: 5_000 });
    expect({ named: uncovered.length, uncoveredLeftOut }).toEqual({ named: 1_000, uncoveredLeftOut: 4_000 });
    all.restart();
    expect(all.result.total.pods).toBe(0);
  });
});
