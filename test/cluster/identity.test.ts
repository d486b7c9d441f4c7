import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { must, run } from "../../src/lab/process.ts";
import { metric, parseOpenMetrics } from "../support/open-metrics.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";
import { fetched, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "identity";
/** Of a pod that is forwarded past the rules in the midst of this file, and found out by its end. */
const PAST = "identity-past";
const HELD = { role: "held" };
const EVIL = OUTSIDE.evil;
const PARTNER = OUTSIDE.partner;
/** Nothing listens there: what arrives is counted all the same. */
const PORT = 9999;
const SENT = 3;
const SOON = { timeout: 20_000, interval: 250 };

/** Much, and to where nobody counts. */
const CHATTER = `while true; do echo x | socat -u - UDP4-SENDTO:${PARTNER.ipv4}:${PORT + 1}; sleep 0.02; done`;

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
let lab: Lab;
let sallyport: Sallyport;

/** Waiting for pods takes its time on a busy machine. */
const kubectl = (...words: string[]) => cluster.kubectl(words, { timeoutMs: 70_000 });
const pod = (name: string, choice: Parameters<typeof podObject>[1] = {}) =>
  podObject(name, { namespace: SPACE, labels: HELD, ...choice });

beforeAll(async () => {
  ({ cluster, lab, sallyport } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } }, POLICY]);
  await cluster.apply([
    pod("routed"),
    pod("other"),
    pod("bridged", { network: "bridge" }),
    pod("beside", { network: "bridge", command: ["httpd", "-f", "-p", "8080", "-h", "/etc"] }),
    pod("passing", { network: "macvlan" }),
    pod("free", { network: "macvlan", labels: {} }),
    pod("host", { network: "host" }),
    { apiVersion: "v1", kind: "Namespace", metadata: { name: PAST } },
    podObject("redirected", { namespace: PAST }),
  ]);
  for (const space of [SPACE, PAST])
    await kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", space, "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "clusteregresspolicy", "identity", "--ignore-not-found");
  await kubectl("delete", "namespace", SPACE, PAST, "--ignore-not-found", "--timeout=60s");
}, 90_000);

describe("a pod whose traffic does not cross the rules", () => {
  test("is named in the node's status with its reason, and no other is", async () => {
    await expect
      .poll(notEnforced, SOON)
      .toEqual(["free NotRoutedByNode", "host HostNetwork", "passing NotRoutedByNode"]);
    const { notEnforced: pods } = await nodeStatus();
    const said = new Map(pods.map(({ pod: name, message }) => [name, message]));
    expect(said.get("passing")).toMatch(/^`ClusterEgressPolicy\/identity` selects it in vain: .*by `eth0`/);
    expect(said.get("host")).toMatch(/^`ClusterEgressPolicy\/identity` selects it: it is held .* drop the capability/);
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

test("something at the interface of a pod begins to forward past the node's IP stack", async () => {
  const { dev } = JSON.parse(await onNode("ip", "-json", "route", "get", await addressOf("redirected", PAST)))[0];
  await onNode("tc", "qdisc", "add", "dev", dev, "clsact");
  // Questions for the gateway's hardware address go up.
  const all = ["protocol", "ip", "u32", "match", "u32", "0", "0"];
  const out = ["action", "mirred", "egress", "redirect", "dev", "eth0"];
  await onNode("tc", "filter", "add", "dev", dev, "ingress", ...all, ...out);
  // Not before: a pod that was seen is believed for a while.
  const { status, stderr } = await cluster.exec(PAST, "redirected", ["sh", "-c", `(${CHATTER}) >/dev/null 2>&1 &`]);
  expect(status, stderr).toBe(0);
});

test.each([0, 1])("pods on one bridge find each other, in each family (%i)", async (family) => {
  const { podIPs } = JSON.parse(await kubectl("get", "pod", "beside", "-n", SPACE, "-o", "json")).status;
  const { ip } = podIPs[family];
  expect(await fetched(cluster, `${SPACE}/bridged`, `http://${ip.includes(":") ? `[${ip}]` : ip}:8080/passwd`)).toBe(
    "200",
  );
});

describe("an address of another pod", () => {
  test("brings nothing out, of either family, and is counted", async () => {
    const { podIPs } = JSON.parse(await kubectl("get", "pod", "other", "-n", SPACE, "-o", "json")).status;
    const [four, six] = podIPs.map(({ ip }: { ip: string }) => ip);
    await lab.forgetOutside();
    const before = await dropped("spoofed");
    await sendAs("routed", four, PARTNER.ipv4);
    await sendAs("routed", six, PARTNER.ipv6);
    // Nor one that nobody has, nor one that was never a pod's.
    await sendAs("routed", "10.244.0.222", PARTNER.ipv4);
    await sendAs("routed", "198.51.100.77", PARTNER.ipv4);
    // A pod of the bridge that takes the address of one on a link of its own, and the other way round.
    await sendAs("bridged", four, PARTNER.ipv4);
    await sendAs("routed", await addressOf("bridged"), PARTNER.ipv4);
    expect(await arrivedAt(PARTNER.ipv4, PARTNER.ipv6)).toBe(0);
    await expect.poll(async () => (await dropped("spoofed")) - before, SOON).toBe(5 * SENT);
    // The honest twin.
    await sendAs("other", four, PARTNER.ipv4);
    await sendAs("other", six, PARTNER.ipv6);
    await expect.poll(() => arrivedAt(PARTNER.ipv4, PARTNER.ipv6), SOON).toBe(2 * SENT);
  });
});

describe("a pod that sends from its first moment", () => {
  const script = [
    "send() { echo x | socat -u - $1; }",
    `(while true; do send UDP4-SENDTO:${EVIL.ipv4}:${PORT}; send UDP6-SENDTO:[${EVIL.ipv6}]:${PORT}; sleep 0.1; done) &`,
    // One connection, the first thing it does, to where it may.
    `curl -sk -o /dev/null -m 20 -w '%{http_code} %{time_connect}\\n' https://${PARTNER.ipv4}:8443/`,
    "wait",
  ].join("\n");

  /** Starts pods that send at once; returns the milliseconds that each waited for its connection, sorted. */
  async function start(...names: readonly string[]): Promise<number[]> {
    await lab.forgetOutside();
    for (const name of names) await cluster.apply([pod(name, { command: ["sh", "-c", script] })]);
    const objects = names.map((name) => `pod/${name}`);
    await kubectl("wait", "--for=condition=Ready", ...objects, "-n", SPACE, "--timeout=60s");
    const waited: number[] = [];
    for (const name of names) {
      await expect.poll(() => kubectl("logs", "-n", SPACE, name), SOON).toMatch(/^200 /);
      const [, seconds = ""] = (await kubectl("logs", "-n", SPACE, name)).trim().split(" ");
      waited.push(Math.round(Number(seconds) * 1000));
    }
    return waited.sort((a, b) => a - b);
  }

  test("sends nothing that was not decided, and reaches what it may at once", async () => {
    const waited = await start("early0", "early1", "early2", "early3");
    expect(await arrivedAt(EVIL.ipv4, EVIL.ipv6)).toBe(0);
    console.log(`first packet of a starting pod to its connection, ms: ${waited.join(" ")}`);
    // The same packets arrive as soon as nothing holds them.
    await kubectl("label", "pod", "-n", SPACE, "early0", "role-");
    await expect.poll(() => arrivedAt(EVIL.ipv4, EVIL.ipv6), SOON).toBeGreaterThan(0);
    await kubectl("delete", "pod", "-n", SPACE, "early0", "early1", "early2", "early3", "--wait=false");
  });

  test("and so where its interface tells that it is one, not its address; which pods that leaves open is told", async () => {
    const open = async () => metric((await metrics()).families, "sallyport_pods_open_at_start");
    expect(await open()).toBe(0);
    const spec = { podInterfaces: ["veth*"] };
    await cluster.apply([
      { apiVersion: "sallyport.dev/v1alpha1", kind: "AgentConfig", metadata: { name: "default" }, spec },
    ]);
    try {
      // Those behind the bridge.
      await expect.poll(open, SOON).toBe(2);
      await start("late0", "late1");
      expect(await arrivedAt(EVIL.ipv4, EVIL.ipv6)).toBe(0);
      expect(await fetched(cluster, `${SPACE}/routed`, `http://${EVIL.ipv4}/`)).toBe("none");
    } finally {
      await kubectl("delete", "agentconfig", "default");
    }
    await expect.poll(open, SOON).toBe(0);
    await kubectl("delete", "pod", "-n", SPACE, "late0", "late1", "--wait=false");
  });
});

test("the pod that is forwarded past the rules has been found out, and no other", async () => {
  const unseen = async () =>
    (await nodeStatus()).notEnforced
      .filter(({ reason }) => reason === "NotSeenByHooks")
      .map(({ namespace, pod: name }) => `${namespace}/${name}`);
  await expect.poll(unseen, { timeout: 60_000, interval: 500 }).toEqual([`${PAST}/redirected`]);
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

async function onNode(...argv: readonly string[]): Promise<string> {
  return must(onMachine(cluster.machine, argv));
}

async function addressOf(name: string, space = SPACE): Promise<string> {
  return (await kubectl("get", "pod", name, "-n", space, "-o", "jsonpath={.status.podIP}")).trim();
}

/** From a pod with no more than the capabilities that every pod has by default (NET_RAW), datagrams from an address of its choice. */
async function sendAs(name: string, source: string, to: string): Promise<void> {
  const six = to.includes(":");
  const [host, from] = six ? [`[${to}]`, `[${source}]`] : [to, source];
  const once = `echo x | socat -u - UDP${six ? 6 : 4}-SENDTO:${host}:${PORT},bind=${from}:5555,ip-transparent`;
  const { status, stderr } = await cluster.exec(SPACE, name, ["sh", "-c", Array(SENT).fill(once).join(" && ")]);
  if (status !== 0) throw new Error(`\`${name}\` cannot send from \`${source}\`: ${stderr.trim()}`);
}

/** UDP packets outside. */
async function arrivedAt(...addresses: readonly string[]): Promise<number> {
  const arrivals = (await lab.outsideSaw()).filter(({ address, port }) => addresses.includes(address) && port === PORT);
  return arrivals.reduce((sum, { packets }) => sum + packets, 0);
}

async function dropped(counter: string): Promise<number> {
  const { families } = await metrics();
  return metric(families, "sallyport_rules_packets_total", { counter }) ?? 0;
}

async function metrics() {
  const curl = ["curl", "-s", "-m", "5", "-H", "accept: application/openmetrics-text", "http://127.0.0.1:9464/metrics"];
  const { stdout } = await run(onMachine(cluster.machine, curl));
  return { families: parseOpenMetrics(stdout) };
}

function whole(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
