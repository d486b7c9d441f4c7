import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { RuntimeReport } from "../../src/agent/nri/report.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { must, run } from "../../src/lab/process.ts";
import { metric, parseOpenMetrics } from "../support/open-metrics.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";
import type { Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

/** Pods that send as the first thing they do; in `mute` no kubelet tells the API server of any address. */
const SPACE = "early";
const MUTE = "mute";
const { evil: EVIL, partner: PARTNER } = OUTSIDE;
const PORT = 9997;
const PODS = 5;
const SOON = { timeout: 20_000, interval: 250 };
const POLICY = {
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "ClusterEgressPolicy",
  metadata: { name: "early" },
  spec: {
    tier: "Admin",
    priority: 8,
    defaultDeny: true,
    subject: { namespaceSelector: { matchExpressions: [{ key: "early", operator: "Exists" }] } },
    rules: [{ name: "partner", action: "Allow", to: [{ cidrs: [`${PARTNER.ipv4}/32`] }] }],
  },
};
/** What a kubelet says of pods in namespaces with the label `early=mute` is refused. */
const SILENCE = [
  {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name: "early-silence" },
    spec: {
      failurePolicy: "Fail",
      matchConstraints: {
        resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["UPDATE"], resources: ["pods/status"] }],
      },
      validations: [{ expression: "false", message: "a test" }],
    },
  },
  {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name: "early-silence" },
    spec: {
      policyName: "early-silence",
      validationActions: ["Deny"],
      matchResources: { namespaceSelector: { matchLabels: { early: "mute" } } },
    },
  },
];
const SCRIPT = [
  `(while true; do echo x | socat -u - UDP4-SENDTO:${EVIL.ipv4}:${PORT}; sleep 0.1; done) &`,
  `curl -sk -o /dev/null -m 20 -w '%{http_code} %{time_connect}\\n' "https://${PARTNER.ipv4}:8443/?$HOSTNAME"`,
  "wait",
].join("\n");

let cluster: Cluster;
let lab: Lab;
let sallyport: Sallyport;

const kubectl = (...words: string[]) => cluster.kubectl(words, { timeoutMs: 70_000 });
const early = (name: string, namespace = SPACE) => podObject(name, { namespace, command: ["sh", "-c", SCRIPT] });

async function onNode(...argv: readonly string[]): Promise<string> {
  return must(onMachine(cluster.machine, argv));
}

async function metrics() {
  const curl = ["curl", "-s", "-m", "5", "-H", "accept: application/openmetrics-text", "http://127.0.0.1:9464/metrics"];
  const families = parseOpenMetrics((await run(onMachine(cluster.machine, curl))).stdout);
  const number = (name: string, labels: Record<string, string> = {}) => metric(families, name, labels);
  return {
    connected: number("sallyport_nri_connected"),
    connections: number("sallyport_nri_connections_total"),
    inForce: number("sallyport_nri_starts_total", { result: "in_force" }),
    late: number("sallyport_nri_starts_total", { result: "late" }),
    waited: number("sallyport_nri_wait_seconds_total"),
    unknown: number("sallyport_unknown_sources_total"),
  };
}

/** Starts pods that send at once. @returns the milliseconds that each waited for its connection, sorted */
async function start(prefix: string): Promise<number[]> {
  const names = Array.from({ length: PODS }, (_, n) => `${prefix}${n}`);
  await cluster.apply(names.map((name) => early(name)));
  const waited: number[] = [];
  for (const name of names) {
    const log = () => cluster.tryKubectl(["logs", "-n", SPACE, name]).then(({ stdout }) => stdout);
    await expect.poll(log, SOON).toMatch(/^200 /);
    waited.push(Math.round(Number((await log()).trim().split(" ")[1]) * 1000));
  }
  return waited.sort((a, b) => a - b);
}

async function clear(space = SPACE): Promise<void> {
  await kubectl("delete", "pod", "--all", "-n", space, "--timeout=60s");
}

/** How often the runtime says that the agent was connected to it. */
async function registrations(): Promise<number> {
  const log = await readFile(`${cluster.directory}/containerd.log`, "utf8");
  return log.match(/"90-sallyport\\" connected/g)?.length ?? 0;
}

/** Datagrams to where nobody may. */
async function leaked(): Promise<number> {
  const arrivals = (await lab.outsideSaw()).filter(({ address, port }) => address === EVIL.ipv4 && port === PORT);
  return arrivals.reduce((sum, { packets }) => sum + packets, 0);
}

async function reached(name: string): Promise<boolean> {
  return (await lab.outsideLog()).some(({ target }) => target === `/?${name}`);
}

beforeAll(async () => {
  ({ cluster, lab, sallyport } = await sharedRelease());
  const space = (name: string, early: string) => {
    return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { early } } };
  };
  await cluster.apply([space(SPACE, "told"), space(MUTE, "mute"), POLICY, ...SILENCE]);
}, 300_000);

afterAll(async () => {
  // Before its pods: one whose end is not told does not end.
  await kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "early-silence");
  await kubectl("delete", "namespace", SPACE, MUTE, "--timeout=60s");
  await kubectl("delete", "clusteregresspolicy", "early");
  await sallyport.upgrade();
}, 200_000);

beforeEach(() => lab.forgetOutside());

describe("a pod that sends from its first moment", () => {
  test("is known before it sends where the runtime tells its address, and that is measured", async () => {
    expect((await metrics()).connected).toBe(0);
    const before = await metrics();
    const without = await start("without");
    const held = (await metrics()).unknown - before.unknown;
    await clear();

    await sallyport.upgrade("agent.nri.enabled=true");
    await expect.poll(async () => (await metrics()).connected, SOON).toBe(1);
    const began = await metrics();
    const told = await start("told");
    const ended = await metrics();
    expect(await leaked()).toBe(0);
    const late = ended.late - began.late;
    expect(ended.inForce - began.inForce + late).toBe(PODS);
    expect(ended.inForce).toBeGreaterThan(began.inForce);
    // Each start waited until the kernel knew the pod: no packet came from an address that nobody owned. A machine that is busy beyond the bound is not what is tried.
    if (late === 0) expect(ended.unknown).toBe(began.unknown);
    const wait = Math.round(((ended.waited - began.waited) / PODS) * 1000);
    console.log(
      `first packet of a starting pod to its connection, ms: ${without.join(" ")} (${held} packets held) without NRI; ${told.join(" ")} (${ended.unknown - began.unknown} held) with it, where each start waited ${wait} ms`,
    );
    await clear();
  });

  test("needs no kubelet that tells its address", async () => {
    await cluster.apply([early("one", MUTE)]);
    await expect.poll(() => reached("one"), SOON).toBe(true);
    expect(await leaked()).toBe(0);
    const { status } = parse(await kubectl("get", "pod", "one", "-n", MUTE, "-o", "yaml"));
    expect(status.podIP).toBeUndefined();
  });

  test("and the node's status says that the runtime tells", async () => {
    const condition = async () => {
      const { status } = parse(await kubectl("get", "ens", NODE.name, "-o", "yaml"));
      return status.conditions.find(({ type }: { type: string }) => type === "RuntimeConnected");
    };
    await expect
      .poll(condition, SOON)
      .toMatchObject({ status: "True", message: expect.stringMatching(/^containerd /) });
    const { stdout } = await sallyport.command("status", "--agent=unix:/tmp/agent.sock", "-o", "json");
    const runtime: RuntimeReport = JSON.parse(stdout).cluster.runtime;
    expect(runtime).toMatchObject({ connected: true, trouble: null, disagreements: 0 });
    expect(runtime.sandboxes).toBeGreaterThan(0);
  });
});

describe("the runtime does not depend on the agent, nor the agent on the runtime", () => {
  test("pods start while the agent hangs, and what they send waits; after that it finds the runtime again", async () => {
    const name = "hung";
    const before = await registrations();
    const hang = (signal: string) => onNode("pkill", signal, "-f", "bin/sallyport agent");
    await hang("-STOP");
    try {
      await cluster.apply([early(name)]);
      await kubectl("wait", "--for=condition=Ready", `pod/${name}`, "-n", SPACE, "--timeout=60s");
      expect(await leaked()).toBe(0);
      expect(await reached(name)).toBe(false);
    } finally {
      await hang("-CONT");
    }
    await expect.poll(() => reached(name), SOON).toBe(true);
    // The runtime had given it up.
    await expect.poll(registrations, SOON).toBeGreaterThan(before);
    expect((await metrics()).connected).toBe(1);
    expect(await leaked()).toBe(0);
  });

  test("a runtime that was restarted tells again what only it knows", async () => {
    const before = await metrics();
    await cluster.stop("containerd");
    await expect.poll(async () => (await metrics()).connected, SOON).toBe(0);
    await cluster.restart("containerd");
    await expect.poll(async () => (await metrics()).connected, SOON).toBe(1);
    // The agent is the same.
    expect((await metrics()).connections).toBe(before.connections + 1);
    const words = ["curl", "-sk", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", `https://${PARTNER.ipv4}:8443/`];
    await expect.poll(async () => (await cluster.exec(MUTE, "one", words)).stdout, SOON).toBe("200");
    await cluster.apply([early("after", MUTE)]);
    await expect.poll(() => reached("after"), SOON).toBe(true);
    const after = await metrics();
    expect(after.inForce + after.late).toBe(before.inForce + before.late + 1);
    expect(await leaked()).toBe(0);
  });
});
