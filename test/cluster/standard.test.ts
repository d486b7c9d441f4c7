import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { NodeStatusText } from "../../src/policy/status-schema.ts";
import type { Cluster } from "./cluster.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";
import { fetched, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";
import { CLUSTER_NETWORK_POLICIES } from "./standard-definition.ts";

/** NetworkPolicy and ClusterNetworkPolicy in a cluster whose network, plain `ptp`, ignores them. */
const NAMESPACES = ["std-a", "std-b"];
const ONE = "std-a/one";
const TWO = "std-b/two";
const GITHUB = "https://api.github.com/";
const WEATHER = "https://api.weather.gov/";
const EVIL = `http://${OUTSIDE.evil.ipv4}/`;
/** Reset at its first packet, or answered where a name could still have decided. */
const DENIED = expect.stringMatching(/^(none|403)$/);
const SOON = { timeout: 20_000, interval: 300 };

let cluster: Cluster;
let sallyport: Sallyport;

const get = (pod: string, url: string, ...flags: string[]) => fetched(cluster, pod, url, ...flags);
const kubectl = (...words: string[]) => cluster.kubectl(words);

async function status(): Promise<NodeStatusText> {
  return JSON.parse(await kubectl("get", "ens", NODE.name, "-o", "jsonpath={.status}")) as NodeStatusText;
}

async function sourcesRead(): Promise<string> {
  const found = (await status()).conditions?.find(({ type }) => type === "SourcesRead");
  return found === undefined ? "none" : `${found.status} ${found.reason}`;
}

const networkPolicy = (name: string, namespace: string, egress: readonly object[], more: object = {}) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace },
  spec: { podSelector: {}, policyTypes: ["Egress"], egress, ...more },
});

const DNS = {
  to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } } }],
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};
const block = (cidr: string, port: number, ...except: string[]) => ({
  to: [{ ipBlock: { cidr, except } }],
  ports: [{ protocol: "TCP", port }],
});

const clusterNetworkPolicy = (name: string, tier: string, priority: number, egress: readonly object[]) => ({
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  kind: "ClusterNetworkPolicy",
  metadata: { name },
  spec: {
    tier,
    priority,
    subject: { namespaces: { matchLabels: { "kubernetes.io/metadata.name": "std-b" } } },
    egress,
  },
});

beforeAll(async () => {
  ({ cluster, sallyport } = await sharedRelease());
  await cluster.apply(NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })));
  await cluster.apply([
    podObject("one", { namespace: "std-a", labels: { app: "one" } }),
    podObject("two", { namespace: "std-b" }),
  ]);
  for (const name of NAMESPACES)
    await kubectl("wait", "--for=condition=Ready", "pod", "--all", "--namespace", name, "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "crd", CLUSTER_NETWORK_POLICIES.metadata.name, "--ignore-not-found");
  for (const name of NAMESPACES) await kubectl("delete", "pod", "--all", "--namespace", name);
  await kubectl("delete", "namespace", ...NAMESPACES, "--ignore-not-found", "--wait=false");
  // The chart keeps no AgentConfig without `config`: as the release was installed.
  await sallyport.upgrade();
}, 180_000);

describe("standard policies that are not listed", () => {
  test("are not read", async () => {
    await cluster.apply([networkPolicy("all", "std-a", [])]);
    expect(await get(ONE, EVIL)).toBe("200");
    expect(await sourcesRead()).toBe("none");
  });
});

describe("NetworkPolicy", () => {
  test("holds once `sources` lists it, whether or not the other kind is installed", async () => {
    await sallyport.upgrade("config.sources={NetworkPolicy,ClusterNetworkPolicy}");
    await expect.poll(() => get(ONE, EVIL), SOON).toEqual(DENIED);
    await expect.poll(sourcesRead, SOON).toBe("False NotInstalled");
    expect((await status()).ready).toBe(true);
    expect(await get(TWO, EVIL)).toBe("200");
    // A default deny leaves no way out by names.
    expect(await get(ONE, GITHUB)).toBe("none");
  });

  test("is the union of all, by block, exception and port", async () => {
    await cluster.apply([
      networkPolicy("dns", "std-a", [DNS]),
      networkPolicy("github", "std-a", [block("0.0.0.0/0", 443, `${OUTSIDE.weatherApi.ipv4}/32`)], {
        podSelector: { matchLabels: { app: "one" } },
      }),
    ]);
    await expect.poll(() => get(ONE, GITHUB, "-4"), SOON).toBe("200");
    expect(await get(ONE, WEATHER, "-4")).toBe("none");
    expect(await get(ONE, `http://${OUTSIDE.githubApi.ipv4}/`)).toEqual(DENIED);
    expect(await get(ONE, GITHUB, "-6")).toBe("none");
  });

  test("changed and deleted", async () => {
    await cluster.apply([networkPolicy("github", "std-a", [block(`${OUTSIDE.evil.ipv4}/32`, 80)])]);
    await expect.poll(() => get(ONE, EVIL), SOON).toBe("200");
    expect(await get(ONE, GITHUB, "-4")).toBe("none");
    await kubectl("delete", "networkpolicy", "github", "--namespace", "std-a");
    await expect.poll(() => get(ONE, EVIL), SOON).toEqual(DENIED);
    await kubectl("delete", "networkpolicy", "all", "dns", "--namespace", "std-a");
    await expect.poll(() => get(ONE, EVIL), SOON).toBe("200");
  });

  test("never opens what a policy of Sallyport's own denies", async () => {
    const own = {
      apiVersion: "sallyport.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { name: "own", namespace: "std-a" },
      spec: {
        rules: [{ name: "web", action: "Allow", to: [{ domains: ["api.github.com"], ports: [{ port: 443 }] }] }],
      },
    };
    await cluster.apply([own, networkPolicy("all", "std-a", [{}])]);
    await expect.poll(() => get(ONE, EVIL), SOON).toEqual(DENIED);
    expect(await get(ONE, GITHUB)).toBe("200");
    await kubectl("delete", "eg", "own", "--namespace", "std-a");
    await kubectl("delete", "networkpolicy", "all", "--namespace", "std-a");
  });

  test("is told in the node's status, with what is not decided here", async () => {
    await cluster.apply([networkPolicy("dns", "std-a", [DNS])]);
    const entry = async () => (await status()).policies?.find(({ kind }) => kind === "NetworkPolicy");
    await expect.poll(entry, SOON).toMatchObject({
      ...{ namespace: "std-a", name: "dns", programmed: true, reason: "PartiallyEnforced", selectedPods: 1 },
      message: "peers inside the cluster are not decided here, in egress[0]",
    });
    await kubectl("delete", "networkpolicy", "dns", "--namespace", "std-a");
  });
});

describe("ClusterNetworkPolicy", () => {
  const REST = { name: "rest", action: "Deny", to: [{ networks: ["0.0.0.0/0", "::/0"] }] };
  const names = (...domainNames: string[]) => ({ name: "names", action: "Accept", to: [{ domainNames }] });

  test("holds once it is installed: by name, by network, by tier", async () => {
    await cluster.apply([CLUSTER_NETWORK_POLICIES]);
    await kubectl("wait", "--for=condition=Established", "crd", CLUSTER_NETWORK_POLICIES.metadata.name);
    await cluster.apply([clusterNetworkPolicy("admin", "Admin", 1, [names("*.github.com"), REST])]);
    // The agent asks once or twice a minute for what is not there; a new one asks at once.
    await kubectl("--namespace", "sallyport", "rollout", "restart", "daemonset/sallyport-agent");
    await sallyport.rolledOut();
    await expect.poll(sourcesRead, SOON).toBe("True Read");
    await expect.poll(() => get(TWO, EVIL), SOON).toEqual(DENIED);
    expect(await get(TWO, GITHUB)).toBe("200");
    expect(await get(TWO, WEATHER)).toBe("none");
    expect(await get(ONE, EVIL)).toBe("200");
  });

  test("Pass leads on, NetworkPolicy decides before Baseline", async () => {
    const pass = { action: "Pass", to: [{ networks: [`${OUTSIDE.evil.ipv4}/32`] }] };
    await cluster.apply([
      clusterNetworkPolicy("admin", "Admin", 1, [pass, names("api.github.com"), REST]),
      clusterNetworkPolicy("base", "Baseline", 0, [REST]),
    ]);
    await expect.poll(() => get(TWO, EVIL), SOON).toEqual(DENIED);
    await cluster.apply([networkPolicy("evil", "std-b", [block("0.0.0.0/0", 80)])]);
    await expect.poll(() => get(TWO, EVIL), SOON).toBe("200");
    expect(await get(TWO, GITHUB)).toBe("200");
    await kubectl("delete", "networkpolicy", "evil", "--namespace", "std-b");
  });

  test("is explained where it is enforced, and deleted it holds nobody", async () => {
    await expect.poll(() => get(TWO, EVIL), SOON).toEqual(DENIED);
    const agent = (await sallyport.pods("agent")).at(-1)!;
    const lines = await kubectl("--namespace", "sallyport", "logs", agent, "--tail=400");
    expect(lines).toContain('"ClusterNetworkPolicy/base"');
    expect(lines).toContain("egress[0] rest");
    await kubectl("delete", "cnp", "admin", "base");
    await expect.poll(() => get(TWO, EVIL), SOON).toBe("200");
  });

  test("what is taken out of `sources` is not read any more", async () => {
    await cluster.apply([clusterNetworkPolicy("admin", "Admin", 1, [REST])]);
    await expect.poll(() => get(TWO, EVIL), SOON).toEqual(DENIED);
    await kubectl("patch", "agentconfig", "default", "--type=merge", "-p", '{"spec":{"sources":["NetworkPolicy"]}}');
    await expect.poll(() => get(TWO, EVIL), SOON).toBe("200");
  });
});
