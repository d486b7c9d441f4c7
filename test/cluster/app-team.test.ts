import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import type { ExecResult } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";
import { podObject } from "./pods.ts";
import { fetched } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const OWN = "team-a";
const FOREIGN = "team-b";
const SOON = { timeout: 20_000, interval: 300 };
const LABELS = fileURLToPath(new URL("../../deploy/admission/egress-labels.yaml", import.meta.url));
const EXAMPLE = ["validatingadmissionpolicy", "validatingadmissionpolicybinding"];
const RBAC = "rbac.authorization.k8s.io";

let cluster: Cluster;
let kubeconfig: string;

/** kubectl with the token of the team's service account, and nothing else. */
function asTeam(words: readonly string[], ...objects: readonly object[]): Promise<ExecResult> {
  const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  return cluster.tryKubectl(["--kubeconfig", kubeconfig, ...words], objects.length === 0 ? {} : { input });
}

const applied = (...objects: readonly object[]) => asTeam(["apply", "-f", "-"], ...objects);

const policy = (kind: string, name: string, namespace: string | null, domain: string): object => ({
  apiVersion: "sallyport.dev/v1alpha1",
  kind,
  metadata: { name, ...(namespace === null ? {} : { namespace }) },
  spec: {
    ...(namespace === null ? { tier: "Admin", defaultDeny: true } : {}),
    priority: 10,
    subject: { podSelector: { matchLabels: { app: "shop" } } },
    rules: [{ name: "site", action: "Allow", to: [{ domains: [domain], ports: [{ protocol: "TCP", port: 443 }] }] }],
  },
});

function bound(name: string, kind: string): object {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: "RoleBinding",
    metadata: { name, namespace: OWN },
    roleRef: { apiGroup: RBAC, kind, name },
    subjects: [{ kind: "ServiceAccount", name: "deployer", namespace: OWN }],
  };
}

const shop = (name: string, labels: object = {}): object =>
  podObject(name, { namespace: OWN, labels: { app: "shop", ...labels } });

/** As a CI job of the team has it: a token, and the authority of the API server. */
async function writeTeamKubeconfig(path: string): Promise<void> {
  const config = JSON.parse(await cluster.kubectl(["config", "view", "--raw", "-o", "json"]));
  const token = (await cluster.kubectl(["create", "token", "deployer", "-n", OWN])).trim();
  const users = config.users.map(({ name }: { name: string }) => ({ name, user: { token } }));
  await writeFile(path, JSON.stringify({ ...config, users }), { mode: 0o600 });
}

beforeAll(async () => {
  ({ cluster } = await sharedRelease());
  kubeconfig = `${cluster.directory}/team.kubeconfig`;
  const uses = { apiGroups: ["sallyport.dev"], resources: ["egressrulesets"], resourceNames: ["shop"], verbs: ["use"] };
  await cluster.apply([
    ...[OWN, FOREIGN].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "deployer", namespace: OWN } },
    { apiVersion: `${RBAC}/v1`, kind: "Role", metadata: { name: "egress-shop", namespace: OWN }, rules: [uses] },
    bound("edit", "ClusterRole"),
    bound("egress-shop", "Role"),
    ...parseAllDocuments(readFileSync(LABELS, "utf8")).map((document) => document.toJS() as object),
  ]);
  await writeTeamKubeconfig(kubeconfig);
  // An admission policy holds a moment after it is written.
  await expectSoon(async () => (await applied(shop("probe", { "egress-ruleset": "of-others" }))).status !== 0);
  expect((await applied(shop("shop"))).stderr).toBe("");
  const wait = ["wait", "--for=condition=Ready", "pod/shop", "-n", OWN, "--timeout=60s"];
  await cluster.kubectl(wait, { timeoutMs: 70_000 });
}, 300_000);

afterAll(async () => {
  await cluster.kubectl(["delete", ...[EXAMPLE.join(",")], "sallyport-egress-labels", "--ignore-not-found"]);
  await cluster.kubectl(["delete", "namespace", OWN, FOREIGN, "--ignore-not-found", "--wait=false"]);
}, 60_000);

/** A pod that slipped through before the policy held is taken away again. */
async function expectSoon(what: () => Promise<boolean>): Promise<void> {
  for (let left = 50; left > 0; left--) {
    if (await what()) return;
    await cluster.kubectl(["delete", "pod", "probe", "-n", OWN, "--ignore-not-found"], { timeoutMs: 30_000 });
  }
  throw new Error("the example policy about egress labels does not hold");
}

describe("the service account of an app team that may edit its namespace", () => {
  test("writes no egress policy before somebody binds the role", async () => {
    const { status, stderr } = await applied(policy("EgressPolicy", "own", OWN, "api.github.com"));
    expect(status).not.toBe(0);
    expect(stderr).toContain('cannot create resource "egresspolicies"');
    const seen = await asTeam(["get", "egresspolicies", "-n", OWN]);
    expect(seen.status, seen.stderr).toBe(0);
  });

  test("bound, writes them in its own namespace, and they are enforced", async () => {
    await cluster.apply([bound("sallyport-app-team", "ClusterRole")]);
    await expect
      .poll(async () => (await applied(policy("EgressPolicy", "own", OWN, "api.github.com"))).stderr, SOON)
      .toBe("");
    await expect.poll(() => fetched(cluster, `${OWN}/shop`, "https://api.weather.gov/"), SOON).toBe("none");
    expect(await fetched(cluster, `${OWN}/shop`, "https://api.github.com/")).toBe("200");
    expect((await applied(policy("EgressPolicy", "own", OWN, "api.weather.gov"))).stderr).toBe("");
    await expect.poll(() => fetched(cluster, `${OWN}/shop`, "https://api.weather.gov/"), SOON).toBe("200");
    expect((await asTeam(["delete", "egresspolicy", "own", "-n", OWN])).stderr).toBe("");
  });

  test.each([
    [
      "another's namespace",
      "create",
      "egresspolicies",
      ["-n", FOREIGN],
      policy("EgressPolicy", "x", FOREIGN, "a.example"),
    ],
    ["the whole cluster", "create", "clusteregresspolicies", [], policy("ClusterEgressPolicy", "x", null, "a.example")],
  ])("writes none for %s", async (_, verb, resource, __, object) => {
    const { status, stderr } = await applied(object);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(new RegExp(`cannot (get|${verb}) resource "${resource}"`));
  });

  test.each(["egressnodestatuses", "clusteregresspolicies", "destinationgroups", "agentconfigs"])(
    "reads no %s",
    async (resource) => {
      const { status, stderr } = await asTeam(["get", resource]);
      expect(status).not.toBe(0);
      expect(stderr).toContain(`cannot list resource "${resource}"`);
    },
  );

  test("does not say of its own policy what has become of it", async () => {
    for (const verb of ["update", "patch"]) {
      const { stdout } = await asTeam(["auth", "can-i", verb, "egresspolicies", "--subresource=status", "-n", OWN]);
      expect(stdout.trim()).toBe("no");
      const whole = await asTeam(["auth", "can-i", verb, "egresspolicies", "-n", OWN]);
      expect(whole.stdout.trim()).toBe("yes");
    }
  });

  test("gives its pods the egress label that it may use, and no other", async () => {
    expect((await applied(shop("labelled", { "egress-ruleset": "shop" }))).stderr).toBe("");
    const foreign = await applied(shop("greedy", { "egress-ruleset": "of-others" }));
    expect(foreign.stderr).toContain("you need the right to `use` both in namespace `team-a`");
    const template = {
      metadata: { labels: { app: "d", "egress-ruleset": "of-others" } },
      spec: (shop("t") as Spec).spec,
    };
    const deployment = await applied({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "greedy", namespace: OWN },
      spec: { selector: { matchLabels: { app: "d" } }, template },
    });
    expect(deployment.stderr).toContain("`of-others`");
    const taken = await asTeam(["label", "pod", "labelled", "-n", OWN, "--overwrite", "egress-ruleset=of-others"]);
    expect(taken.stderr).toContain("from `shop` to `of-others`");
    expect((await asTeam(["label", "pod", "labelled", "-n", OWN, "egress-ruleset-"])).stderr).toBe("");
  });
});

interface Spec {
  readonly spec: object;
}
