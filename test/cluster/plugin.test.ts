import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FlowSummary } from "../../src/cli/flow-summary.ts";
import type { CoverageDocument } from "../../src/cli/plugin/coverage.ts";
import type { LiveStatus } from "../../src/cli/plugin/live-status.ts";
import type { PoliciesDocument } from "../../src/cli/plugin/policies.ts";
import type { WhyDocument } from "../../src/cli/plugin/why.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Cluster } from "./cluster.ts";
import { PluginCaller } from "./plugin-caller.ts";
import { podObject } from "./pods.ts";
import { fetched } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "plugin";
const SOON = { timeout: 30_000, interval: 500 };
const POLICY = `EgressPolicy/${SPACE}/own`;

let cluster: Cluster;
let admin: PluginCaller;
let viewer: PluginCaller;
let operator: PluginCaller;

const account = (name: string) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: SPACE } });
/** To a service account of this file; without a namespace in the whole cluster. */
function binding(name: string, role: string, namespace?: string, kind = "ClusterRole"): object {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: namespace === undefined ? "ClusterRoleBinding" : "RoleBinding",
    metadata: { name: `plugin-${name}-${role}`, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name: role },
    subjects: [{ kind: "ServiceAccount", name, namespace: SPACE }],
  };
}
const BOUND = [
  binding("viewer", "sallyport-viewer"),
  binding("viewer", "view", SPACE),
  binding("operator", "sallyport-operator"),
  binding("operator", "sallyport-flows", "sallyport", "Role"),
];

beforeAll(async () => {
  ({ cluster } = await sharedRelease());
  await cluster.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } }]);
  await cluster.apply([
    account("viewer"),
    account("operator"),
    ...BOUND,
    {
      apiVersion: "sallyport.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { name: "own", namespace: SPACE },
      spec: {
        priority: 10,
        subject: { podSelector: { matchLabels: { app: "held" } } },
        rules: [
          {
            name: "github",
            action: "Allow",
            to: [{ domains: ["api.github.com"], ports: [{ protocol: "TCP", port: 443 }] }],
          },
        ],
      },
    },
    podObject("held", { namespace: SPACE, labels: { app: "held" } }),
    podObject("free", { namespace: SPACE }),
    podObject("beside", { namespace: SPACE, labels: { app: "held" }, network: "macvlan" }),
  ]);
  await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "-n", SPACE, "--timeout=60s"]);
  admin = PluginCaller.administrator(cluster);
  [viewer, operator] = await Promise.all([
    PluginCaller.account(cluster, SPACE, "viewer"),
    PluginCaller.account(cluster, SPACE, "operator"),
  ]);
}, 300_000);

afterAll(async () => {
  await cluster.kubectl(["delete", "--wait=false", "--ignore-not-found", "-f", "-"], {
    input: JSON.stringify({ apiVersion: "v1", kind: "List", items: BOUND }),
  });
  await cluster.kubectl(["delete", "namespace", SPACE, "--wait=false"]);
});

test("policies: what selects the pod, accepted and enforced on its node", async () => {
  const enforced = async () => (await viewer.json<PoliciesDocument>("policies", "held", "-n", SPACE)).policies;
  await expect
    .poll(enforced, SOON)
    .toMatchObject([
      { policy: POLICY, tier: "Namespace", rules: 1, accepted: "True", programmed: "True", enforcedOnNode: true },
    ]);
  expect((await viewer.plugin("policies", `${SPACE}/free`)).stdout).toContain(`No policy selects \`${SPACE}/free\``);
});

describe("why", () => {
  test.each([
    ["held", "https://api.github.com/", "Allow", "200"],
    ["held", "https://api.weather.gov/", "Deny", "none"],
    ["held", `http://${OUTSIDE.evil.ipv4}/`, "Deny", "none"],
    ["free", "https://api.weather.gov/", "Allow", "200"],
  ])("%s to %s: %s, and so it is", async (pod, url, action, answer) => {
    const said = await viewer.json<WhyDocument>("why", `${SPACE}/${pod}`, url);
    expect(said).toMatchObject({ action, enforcement: { state: "enforced", why: [] } });
    expect(await fetched(cluster, `${SPACE}/${pod}`, url)).toBe(answer);
  });

  test("what is inside is told by whoever may look", async () => {
    const address = (
      await cluster.kubectl(["get", "pod", "free", "-n", SPACE, "-o", "jsonpath={.status.podIP}"])
    ).trim();
    const said = await operator.json<WhyDocument>("why", `${SPACE}/held`, `tcp://${address}:22`);
    expect(said).toMatchObject({ action: "Allow", reason: "Inside", unseen: [] });
    const less = await viewer.json<WhyDocument>("why", `${SPACE}/held`, `tcp://${address}:22`);
    expect(less.unseen.map(({ what }) => what)).toContain("the node's own ranges");
  });

  test("a pod that policies do not hold is not said to be held", async () => {
    const said = () => viewer.json<WhyDocument>("why", `${SPACE}/beside`, "https://api.weather.gov/");
    await expect.poll(async () => (await said()).enforcement.why.join(), SOON).toContain("NotRoutedByNode");
    expect(await said()).toMatchObject({ action: "Deny", enforcement: { state: "not-enforced" } });
  });
});

test("status: of everybody who may see it", async () => {
  await expect
    .poll(async () => (await operator.plugin("status")).stdout, SOON)
    .toMatch(/^ready: everything is enforced/);
  expect((await operator.json<LiveStatus>("status")).unseen).toEqual([]);
  const less = await viewer.plugin("status");
  expect(less.status).toBe(0);
  expect(less.stdout).toContain("not looked at: which controller leads");
});

test("coverage: each pod once", async () => {
  await expect
    .poll(async () => (await operator.json<CoverageDocument>("coverage", "-n", SPACE)).total, SOON)
    .toEqual({
      pods: 3,
      isolated: 1,
      restricted: 0,
      observed: 1,
      notEnforced: 1,
      noAgent: 0,
      pending: 0,
    });
  const all = await operator.json<CoverageDocument>("coverage", "-A");
  const count = JSON.parse(await cluster.kubectl(["get", "pods", "-A", "-o", "json"])).items.length;
  expect(all.total.pods).toBe(count);
  const refused = await viewer.plugin("coverage", "-A");
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain("ask for the ClusterRole `sallyport-operator`");
});

describe("flows", () => {
  test("what a pod tried, from the log of its node's agent", async () => {
    await fetched(cluster, `${SPACE}/held`, `http://${OUTSIDE.evil.ipv4}/`);
    const denied = async () => {
      const { stdout } = await operator.plugin(
        "flows",
        "held",
        "-n",
        SPACE,
        "--denied",
        "--to",
        OUTSIDE.evil.ipv4,
        "-o",
        "json",
      );
      return stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    };
    await expect
      .poll(async () => (await denied()).at(-1), SOON)
      .toMatchObject({
        action: "Deny",
        reason: "DefaultDeny",
        workload: { namespace: SPACE, name: "held" },
        destination: { address: OUTSIDE.evil.ipv4, port: 80 },
      });
    expect((await operator.json<FlowSummary>("flows", "-n", SPACE, "--summary")).denied).toBeGreaterThan(0);
  });

  test("what comes, until Ctrl-C", async () => {
    const child = operator.start("flows", "-n", SPACE, "-f", "-o", "json");
    try {
      let text = "";
      child.stdout?.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      await expect
        .poll(async () => {
          await fetched(cluster, `${SPACE}/held`, `http://${OUTSIDE.partner.ipv4}/`);
          return text;
        }, SOON)
        .toContain(OUTSIDE.partner.ipv4);
      child.kill("SIGINT");
      const [status] = await once(child, "exit");
      expect(status).toBe(0);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("not for who may only view", async () => {
    const { status, stderr } = await viewer.plugin("flows", "-n", SPACE);
    expect(status).toBe(2);
    expect(stderr).toContain("ask for the Role `sallyport-flows` in the namespace `sallyport`");
  });
});

test("kubectl completes its commands and the cluster's pods", async () => {
  const complete = async (...words: string[]) => (await admin.kubectl("__complete", "sallyport", ...words)).stdout;
  expect(await complete("co")).toMatch(/^coverage\b/);
  expect(await complete("why", "-n", SPACE, "")).toMatch(/^beside\nfree\nheld\n:4/m);
});
