import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { run } from "../../src/lab/process.ts";
import { metric, parseOpenMetrics } from "../support/open-metrics.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";
import { fetched, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "identity";
const HELD = { role: "held" };
const EVIL = OUTSIDE.evil;
const PARTNER = OUTSIDE.partner;
const SOON = { timeout: 20_000, interval: 250 };

/** Every pod of this file that is held may reach one address, and nothing else. */
const POLICY = {
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "ClusterEgressPolicy",
  metadata: { name: "identity" },
  spec: {
    tier: "Admin",
    priority: 7,
    defaultDeny: true,
    subject: {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": SPACE } },
      podSelector: { matchLabels: HELD },
    },
    rules: [{ name: "partner", action: "Allow", to: [{ cidrs: Object.values(PARTNER).map(whole) }] }],
  },
};

let cluster: Cluster;
let sallyport: Sallyport;

const kubectl = (...words: string[]) => cluster.kubectl(words);
const pod = (name: string, choice: Parameters<typeof podObject>[1] = {}) =>
  podObject(name, { namespace: SPACE, labels: HELD, ...choice });

beforeAll(async () => {
  ({ cluster, sallyport } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } }, POLICY]);
  await cluster.apply([
    pod("routed"),
    pod("other"),
    pod("bridged", { network: "bridge" }),
    pod("passing", { network: "macvlan" }),
    pod("free", { network: "macvlan", labels: {} }),
    pod("host", { network: "host" }),
  ]);
  await kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", SPACE, "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "clusteregresspolicy", "identity", "--ignore-not-found");
  await kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=60s");
}, 90_000);

describe("a pod whose traffic does not cross the rules", () => {
  test("is named in the node's status with its reason, and no other is", async () => {
    await expect
      .poll(notEnforced, SOON)
      .toEqual(["free NotRoutedByNode", "host HostNetwork", "passing NotRoutedByNode"]);
    const { notEnforced: pods } = await nodeStatus();
    const said = new Map(pods.map(({ pod: name, message }) => [name, message]));
    expect(said.get("passing")).toMatch(/^`ClusterEgressPolicy\/identity` selects it in vain: .*by `eth0`/);
    expect(said.get("host")).toMatch(/^`ClusterEgressPolicy\/identity` selects it in vain: it shares the network/);
    expect(said.get("free")).toMatch(/^the node reaches `192\.0\.2\.2\d\d` by `eth0`/);
  });

  test("really is not held, and those of the bridge and of a link of their own are", async () => {
    const url = `http://${EVIL.ipv4}/`;
    expect(await fetched(cluster, `${SPACE}/passing`, url)).toBe("200");
    expect(await fetched(cluster, `${SPACE}/routed`, url)).toBe("none");
    expect(await fetched(cluster, `${SPACE}/bridged`, url)).toBe("none");
    const partner = `https://${PARTNER.ipv4}:8443/`;
    expect(await fetched(cluster, `${SPACE}/routed`, partner, "-k")).toBe("200");
    expect(await fetched(cluster, `${SPACE}/bridged`, partner, "-k")).toBe("200");
  });

  test("is counted by reason, and said by `sallyport status` and the log", async () => {
    const { families } = await metrics();
    expect(metric(families, "sallyport_pods_not_enforced", { reason: "NotRoutedByNode" })).toBe(2);
    expect(metric(families, "sallyport_pods_not_enforced", { reason: "HostNetwork" })).toBe(1);
    expect(metric(families, "sallyport_pods", { state: "not_enforced" })).toBe(3);
    const { stdout } = await sallyport.command("status");
    expect(stdout).toMatch(/^ready: everything is enforced, but 3 pods are NOT HELD$/m);
    expect(stdout).toContain(`${SPACE}/passing (NotRoutedByNode)`);
    const [agent = ""] = await sallyport.pods("agent");
    const log = await kubectl("-n", "sallyport", "logs", agent, "-c", "agent");
    expect(log).toMatch(/"event":"pod-not-enforced","pod":"identity\/passing","reason":"NotRoutedByNode"/);
  });

  test("is forgotten when it is gone", async () => {
    await kubectl("delete", "pod", "-n", SPACE, "free");
    await expect.poll(notEnforced, SOON).toEqual(["host HostNetwork", "passing NotRoutedByNode"]);
  });
});

interface NodeStatus {
  readonly notEnforced: readonly { namespace: string; pod: string; reason: string; message: string }[];
}

async function nodeStatus(): Promise<NodeStatus> {
  return parse(await kubectl("get", "egressnodestatus", NODE.name, "-o", "yaml")).status;
}

async function notEnforced(): Promise<string[]> {
  const { notEnforced: pods = [] } = await nodeStatus();
  return pods
    .filter(({ namespace }) => namespace === SPACE)
    .map(({ pod: name, reason }) => `${name} ${reason}`)
    .sort();
}

async function metrics() {
  const curl = ["curl", "-s", "-m", "5", "-H", "accept: application/openmetrics-text", "http://127.0.0.1:9464/metrics"];
  const { stdout } = await run(onMachine(cluster.machine, curl));
  return { families: parseOpenMetrics(stdout) };
}

function whole(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
