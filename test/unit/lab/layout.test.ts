import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configText, workloadsText } from "../../../src/lab/documents.ts";
import { layoutOf, podOf, withPod } from "../../../src/lab/layout.ts";
import { labOfNetns } from "../../../src/lab/names.ts";
import { scenario } from "../../../src/lab/scenario.ts";
import { outsideRules, serviceRules } from "../../../src/lab/services.ts";
import { echConfigList, outsideRecords, outsideZones } from "../../../src/lab/zones.ts";

const layout = layoutOf(scenario("two-apps", "paper", 2));

describe("layout", () => {
  test("names and addresses are unique, and interface names fit the kernel's 15 characters", () => {
    const { pods, nodes } = layoutOf(scenario("two-apps", "abcdefghijkl", 200));
    for (const values of [
      pods.map((pod) => pod.netns),
      pods.map((pod) => pod.link),
      pods.map((pod) => pod.address.ipv4),
      pods.map((pod) => pod.address.ipv6),
      nodes.map((node) => node.address.ipv4),
    ]) {
      expect(new Set(values).size).toBe(values.length);
    }
    expect(Math.max(...pods.map((pod) => pod.link.length), ...nodes.map((node) => node.name.length))).toBeLessThan(16);
  });

  test("the resolver and the inside server are always there", () => {
    const bare = layoutOf({ name: "bare", nodes: 1, pods: [] });
    expect(bare.pods.map((pod) => `${pod.namespace}/${pod.name}`)).toEqual(["kube-system/dns", "inside-ns/web"]);
  });

  test.each([
    [{ name: "a-b", nodes: 1, pods: [] }, "lab name `a-b`"],
    [{ name: "a", nodes: 0, pods: [] }, "a lab of 0 nodes"],
    [{ name: "a", nodes: 1, pods: [{ namespace: "x", name: "y", node: 2 }] }, "asks for node 2"],
    [{ name: "a", nodes: 1, pods: [{ namespace: "../x", name: "y" }] }, "`../x` is not a valid"],
    [
      {
        name: "a",
        nodes: 1,
        pods: [
          { namespace: "x-y", name: "z" },
          { namespace: "x", name: "y-z" },
        ],
      },
      "would share the network namespace",
    ],
  ])("refuses %j", (spec, message) => {
    expect(() => layoutOf(spec)).toThrow(message);
  });

  test("a pod that comes later gets a free address and a new UID, also when it reuses an address", () => {
    const before = podOf(layout, "app2-ns/app2");
    const without = { ...layout, pods: layout.pods.filter((pod) => pod !== before) };
    const { pod } = withPod(without, { namespace: "app2-ns", name: "app2", node: 1 }, { host: before.host });
    expect(pod.address).toEqual(before.address);
    expect(pod.uid).not.toBe(before.uid);
    expect(pod.link).not.toBe(before.link);
  });

  test.each([
    ["sp-demo-node1", "demo"],
    ["sp-demo-app1-ns-app1", "demo"],
    ["sp-demo-", null],
    ["sp--node1", null],
    ["other", null],
  ])("network namespace %s is of lab %s", (netns, lab) => {
    expect(labOfNetns(netns)).toBe(lab);
  });
});

describe("documents", () => {
  const { pods } = layout;

  test("the workloads file is a List of core/v1 objects as kubectl prints it", () => {
    const text = workloadsText(layout, 1001);
    expect(text.startsWith("apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n")).toBe(true);
    expect(text).toContain('resourceVersion: "1001"');
    const list = parse(text) as { kind: string; items: { kind: string; metadata: { name: string } }[] };
    expect(list.kind).toBe("List");
    expect(list.items.filter((item) => item.kind === "Pod")).toHaveLength(pods.length);
    expect(list.items.find((item) => item.metadata.name === "app1")).toMatchObject({
      metadata: { namespace: "app1-ns", labels: { "egress-ruleset": "app1" } },
      spec: { nodeName: "node1", serviceAccountName: "default" },
      status: { phase: "Running", podIP: "10.244.1.11", podIPs: [{ ip: "10.244.1.11" }, { ip: "fd00:244:1::11" }] },
    });
    expect(list.items.find((item) => item.metadata.name === "app1-ns")).toMatchObject({
      kind: "Namespace",
      metadata: { labels: { "kubernetes.io/metadata.name": "app1-ns" } },
    });
  });

  test("a pod that is not listed is not in the file", () => {
    const { layout: more } = withPod(layout, { namespace: "app1-ns", name: "late" }, { listed: false });
    expect(workloadsText(more, 1)).not.toContain("name: late");
  });

  test("each node's configuration names that node's pod ranges, and overrides win", () => {
    const second = layout.nodes[1]!;
    const { spec } = parse(configText(layout, second, { failMode: "Open" })) as { spec: Record<string, unknown> };
    expect(spec).toMatchObject({
      resolvers: ["10.96.0.10", "fd00:96::a", "10.244.1.10", "fd00:244:1::10"],
      podCIDRs: ["10.244.2.0/24", "fd00:244:2::/64"],
      failMode: "Open",
    });
  });
});

describe("the outside", () => {
  test("every record lies in its zone and no address is anyone's", () => {
    const documentation = /^(192\.0\.2|198\.51\.100|203\.0\.113)\.|^169\.254\.169\.254$|^10\.96\./;
    for (const { zone, name, type, data } of outsideRecords()) {
      expect(`.${name}`.endsWith(`.${zone}`)).toBe(true);
      if (type === "A") expect(data).toMatch(documentation);
      if (type === "AAAA") expect(data).toMatch(/^2001:db8:|^fd00:/);
    }
    expect(outsideZones()).toContain("github.com");
  });

  test("the ECH configuration is as long as it says", () => {
    const bytes = Buffer.from(echConfigList(), "base64");
    expect(bytes.readUInt16BE(0)).toBe(bytes.length - 2);
    expect(bytes.readUInt16BE(4)).toBe(bytes.length - 6);
  });

  test("rules for both families", () => {
    expect(serviceRules(layout)).toContain("ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.1.10");
    expect(serviceRules(layout)).toContain("ip6 daddr fd00:96::a tcp dport 53 dnat to fd00:244:1::10");
    expect(outsideRules()).toContain("set ports_ipv6");
  });
});
