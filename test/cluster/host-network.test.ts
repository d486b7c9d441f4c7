import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { run } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { NODE } from "./network.ts";
import { STATIC_PODS } from "./node-config.ts";
import { podObject } from "./pods.ts";
import { fetched, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "host-network";
const HELD = { role: "held" };
const { evil: EVIL, partner: PARTNER } = OUTSIDE;
const SOON = { timeout: 20_000, interval: 250 };
/** Nothing listens there: what arrives is counted all the same. */
const PORT = 9998;
/** Without what lets a process on the host's network write past every rule. */
const TAME = { capabilities: { drop: ["ALL"] }, allowPrivilegeEscalation: false };
const POLICY = {
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "ClusterEgressPolicy",
  metadata: { name: "host-network" },
  spec: {
    tier: "Admin",
    priority: 8,
    defaultDeny: true,
    subject: {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": SPACE } },
      podSelector: { matchLabels: HELD },
    },
    rules: [
      {
        name: "github",
        action: "Allow",
        to: [{ domains: ["*.github.com"], ports: [{ protocol: "TCP", port: 443 }] }],
      },
      { name: "partner", action: "Allow", to: [{ cidrs: [`${PARTNER.ipv4}/32`] }] },
    ],
  },
};

let cluster: Cluster;
let lab: Lab;
let sallyport: Sallyport;

const kubectl = (...words: string[]) => cluster.kubectl(words, { timeoutMs: 70_000 });
const pod = (name: string, choice: Parameters<typeof podObject>[1] = {}) =>
  podObject(name, { namespace: SPACE, labels: HELD, network: "host", securityContext: TAME, ...choice });
const partner = (name: string) => fetched(cluster, `${SPACE}/${name}`, `https://${PARTNER.ipv4}:8443/`, "-k");
const evil = (name: string) => fetched(cluster, `${SPACE}/${name}`, `https://${EVIL.ipv4}:8443/`, "-k");
const github = (name: string) => fetched(cluster, `${SPACE}/${name}`, "https://api.github.com/", "-k");

beforeAll(async () => {
  ({ cluster, lab, sallyport } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } }, POLICY]);
  await cluster.apply([pod("held"), pod("free", { labels: {} }), pod("raw", { securityContext: {} })]);
  await kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", SPACE, "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "clusteregresspolicy", "host-network", "--ignore-not-found");
  await kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--timeout=60s");
}, 90_000);

beforeEach(() => lab.forgetOutside());

describe("a pod on the host's network that a policy selects", () => {
  test("reaches an allowed name and an allowed address, and nothing else", async () => {
    await expect.poll(() => evil("held"), SOON).toBe("none");
    expect(await github("held")).toBe("200");
    expect(await partner("held")).toBe("200");
    expect(await fetched(cluster, `${SPACE}/held`, "https://evil.example/", "-k")).toBe("none");
    expect(await fetched(cluster, `${SPACE}/held`, `https://[${EVIL.ipv6}]:8443/`, "-k")).toBe("none");
  });

  test("is told why, as every pod is", async () => {
    await evil("held");
    const events = () =>
      kubectl("get", "events", "-n", SPACE, "-o", "yaml", "--field-selector=involvedObject.name=held");
    await expect.poll(events, SOON).toMatch(new RegExp(EVIL.ipv4.replaceAll(".", "\\.")));
  });

  test("reaches the API server, which is inside", async () => {
    const ask =
      'curl -sk -m 5 -o /dev/null -w "%{http_code}" "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/"';
    expect((await cluster.exec(SPACE, "held", ["sh", "-c", ask])).stdout).toMatch(/^40[13]$/);
  });

  test("is as free as the node when the label goes, and held when it is back", async () => {
    await kubectl("label", "pod", "-n", SPACE, "held", "role-");
    await expect.poll(() => evil("held"), SOON).toBe("200");
    await kubectl("label", "pod", "-n", SPACE, "held", "role=held");
    await expect.poll(() => evil("held"), SOON).toBe("none");
  });

  test("sends nothing that was not decided, from its first moment", async () => {
    const command = [
      "sh",
      "-c",
      `while true; do echo x | socat -u - UDP4-SENDTO:${EVIL.ipv4}:${PORT}; sleep 0.05; done`,
    ];
    await cluster.apply(["early0", "early1", "early2"].map((name) => pod(name, { command })));
    await kubectl("wait", "--for=condition=Ready", "pod", "-l", "role=held", "-n", SPACE, "--timeout=60s");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await arrived()).toBe(0);
    // Nor when its object is gone, and its processes run on for a moment.
    await kubectl("delete", "pod", "-n", SPACE, "early1", "early2", "--grace-period=0", "--force");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await arrived()).toBe(0);
    // The same packets arrive as soon as nothing holds them.
    await kubectl("label", "pod", "-n", SPACE, "early0", "role-");
    await expect.poll(arrived, SOON).toBeGreaterThan(0);
    await kubectl("delete", "pod", "-n", SPACE, "early0", "--timeout=60s");
    await expect.poll(freshlyArrived, SOON).toBe(0);
  });
});

test("a static pod is held by the rules of the object that mirrors it", async () => {
  const manifest = join(cluster.directory, STATIC_PODS, "still.json");
  await writeFile(manifest, JSON.stringify({ ...(pod("still") as object), apiVersion: "v1" }));
  const name = `still-${NODE.name}`;
  try {
    await expect.poll(() => cluster.tryKubectl(["get", "pod", "-n", SPACE, name]), SOON).toMatchObject({ status: 0 });
    await kubectl("wait", "--for=condition=Ready", "pod", name, "-n", SPACE, "--timeout=60s");
    await expect.poll(() => evil(name), SOON).toBe("none");
    expect(await partner(name)).toBe("200");
    expect(await notHeld()).not.toContainEqual(expect.stringMatching(/^still/));
  } finally {
    await rm(manifest);
  }
  await kubectl("wait", "--for=delete", "pod", name, "-n", SPACE, "--timeout=60s");
});

test("what no policy selects is untouched: a pod, and the node's own processes", async () => {
  expect(await evil("free")).toBe("200");
  const curl = ["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", `https://${EVIL.ipv4}:8443/`];
  expect((await run(onMachine(cluster.machine, curl))).stdout).toBe("200");
  expect(await kubectl("get", "nodes", "--no-headers")).toMatch(/ Ready /);
});

test("the status names those that may go around, and no other", async () => {
  await expect
    .poll(notHeld, SOON)
    .toEqual([expect.stringMatching(/^raw HostNetwork .*selects it: it is held .*NET_RAW/)]);
  expect(await evil("raw")).toBe("none");
});

test("while the agent is away, what is held stays closed and the rest goes on", async () => {
  const [name = ""] = await sallyport.pods("agent");
  await kubectl("delete", "pod", "-n", "sallyport", name, "--wait=true");
  await expect.poll(() => evil("held"), SOON).toBe("none");
  expect(await evil("free")).toBe("200");
  await kubectl("rollout", "status", "-n", "sallyport", "daemonset/sallyport-agent", "--timeout=60s");
  await expect.poll(() => partner("held"), SOON).toBe("200");
  expect(await evil("held")).toBe("none");
  expect(await arrived()).toBe(0);
});

async function notHeld(): Promise<string[]> {
  const { notEnforced = [] } = parse(await kubectl("get", "egressnodestatus", NODE.name, "-o", "yaml")).status;
  const own = notEnforced.filter(({ namespace }: { namespace: string }) => namespace === SPACE);
  return own.map((one: { pod: string; reason: string; message: string }) => `${one.pod} ${one.reason} ${one.message}`);
}

/** What arrives in half a second from now on. */
async function freshlyArrived(): Promise<number> {
  await lab.forgetOutside();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return arrived();
}

async function arrived(): Promise<number> {
  const arrivals = (await lab.outsideSaw()).filter(({ address, port }) => address === EVIL.ipv4 && port === PORT);
  return arrivals.reduce((sum, { packets }) => sum + packets, 0);
}
