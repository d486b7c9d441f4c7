import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Cluster } from "./cluster.ts";
import { podObject } from "./pods.ts";
import { fetched, NAMESPACE, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "told";
const SOON = { timeout: 30_000, interval: 500 };
const ports = [{ protocol: "TCP", port: 443 }];

let cluster: Cluster;
let sallyport: Sallyport;

const kubectl = (...words: string[]) => cluster.kubectl(words);
const described = (pod: string) => kubectl("-n", SPACE, "describe", "pod", pod);

/** Tries ports of one address, one after the other, for as long as it runs. */
const SCAN = `p=1; while true; do curl -s -m 1 -o /dev/null http://${OUTSIDE.evil.ipv4}:$p/; p=$((p + 1)); done`;

beforeAll(async () => {
  ({ cluster, sallyport } = await sharedRelease());
  const rules = [
    { name: "evil", action: "Deny", to: [{ cidrs: [`${OUTSIDE.evil.ipv4}/32`] }] },
    { name: "github", action: "Allow", to: [{ domains: ["api.github.com"], ports }] },
  ];
  await cluster.apply([
    { apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } },
    {
      apiVersion: "sallyport.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { name: "own", namespace: SPACE },
      spec: { subject: { podSelector: { matchLabels: { app: "own" } } }, rules },
    },
    podObject("scan", { namespace: SPACE, labels: { app: "own" }, command: ["sh", "-c", SCAN] }),
    podObject("quiet", { namespace: SPACE, labels: { app: "own" } }),
  ]);
  await kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("-n", SPACE, "delete", "pod", "--all");
  await kubectl("delete", "namespace", SPACE, "--wait=false");
}, 60_000);

describe("`kubectl describe pod` says why it cannot connect", () => {
  test("a name that no rule allows, and an address that a rule denies, but no path", async () => {
    expect(await fetched(cluster, `${SPACE}/quiet`, "https://api.github.com/")).toBe("200");
    expect(await fetched(cluster, `${SPACE}/quiet`, "https://api.weather.gov/")).toBe("none");
    expect(await fetched(cluster, `${SPACE}/quiet`, `http://${OUTSIDE.evil.ipv4}/for-nobody`)).not.toBe("200");
    const told = async () => (await described("quiet")).replaceAll(/\s+/g, " ");
    await expect.poll(told, SOON).toContain("DNS api.weather.gov: no rule allows it (DefaultDeny)");
    await expect
      .poll(told, SOON)
      .toContain(
        `denied TCP ${OUTSIDE.evil.ipv4}:80: a rule denies it (RuleMatched), by EgressPolicy/${SPACE}/own, rule evil`,
      );
    expect(await told()).toMatch(/Warning EgressDenied \S+ .*sallyport\.dev\/controller/);
    expect(await told()).not.toContain("for-nobody");
    expect(await told()).not.toContain("api.github.com");
  });

  test("a pod that tries everything has its own share, and its Events are about itself", async () => {
    const events = async (pod: string) =>
      Number(
        await kubectl(
          ...["-n", SPACE, "get", "events", "--field-selector", `involvedObject.name=${pod},reason=EgressDenied`],
          ...["-o", "go-template={{len .items}}"],
        ),
      );
    await expect.poll(() => events("scan"), SOON).toBeGreaterThan(3);
    expect(await events("scan")).toBeLessThanOrEqual(16);
    expect(await events("quiet")).toBe(2);
  });

  test("agents write no Events, and the controller makes neither Secrets nor webhooks", async () => {
    const may = async (account: string, ...words: string[]) =>
      (
        await cluster.tryKubectl(["auth", "can-i", ...words, "--as", `system:serviceaccount:${NAMESPACE}:${account}`])
      ).stdout.trim();
    const agent = "sallyport-agent";
    const controller = "sallyport-controller";
    expect(await may(agent, "create", "events.events.k8s.io", "-n", SPACE)).toBe("no");
    expect(await may(controller, "create", "events.events.k8s.io", "-n", SPACE)).toBe("yes");
    expect(await may(controller, "list", "events.events.k8s.io", "-n", SPACE)).toBe("no");
    expect(await may(controller, "create", "secrets", "-n", NAMESPACE)).toBe("no");
    expect(await may(controller, "get", "secrets/other", "-n", NAMESPACE)).toBe("no");
    expect(await may(controller, "patch", "secrets/sallyport-webhook", "-n", NAMESPACE)).toBe("yes");
    expect(await may(controller, "create", "validatingwebhookconfigurations")).toBe("no");
    expect(await may(controller, "patch", "validatingwebhookconfigurations/other")).toBe("no");
    expect(await may(controller, "list", "pods", "-n", SPACE)).toBe("no");
    expect((await sallyport.pods("controller")).length).toBe(2);
  });
});
