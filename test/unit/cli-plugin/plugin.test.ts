import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  agentOf,
  GROUP,
  podOf,
  policyOf,
  reportOf,
  serveSmallCluster,
  statusOf,
} from "../../support/plugin-objects.ts";
import { StubCluster } from "../../support/stub-cluster.ts";

let cluster: StubCluster;
beforeAll(async () => {
  cluster = await StubCluster.start();
});
beforeEach(() => {
  cluster.paths.clear();
  serveSmallCluster(cluster);
});
afterAll(() => cluster.close());

const plugin = (...words: string[]) => cluster.plugin(...words);
const json = async (...words: string[]) => {
  const { status, stdout, stderr } = await plugin(...words, "-o", "json");
  return { status, stderr, document: JSON.parse(stdout || "null") };
};

describe("standard policies", () => {
  const NETWORK_POLICIES = "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies";
  const uid = "uid-np";
  const networkPolicy = {
    metadata: { name: "closed", namespace: "ns", uid, generation: 1 },
    spec: { podSelector: {}, policyTypes: ["Egress"], egress: [{ to: [{ namespaceSelector: {} }] }] },
  };
  const list = (...sources: string[]) => {
    cluster.paths.set(`${GROUP}/agentconfigs/default`, { metadata: { name: "default", uid: "c" }, spec: { sources } });
    cluster.paths.set(NETWORK_POLICIES, { items: [networkPolicy] });
    cluster.paths.set(NETWORK_POLICIES.replace("/namespaces/ns", ""), { items: [networkPolicy] });
  };
  const why = async (pod: string) => (await json("why", pod, "https://203.0.113.7/")).document;

  test("decide where `sources` lists them, and nowhere else", async () => {
    list();
    expect(await why("ns/free")).toMatchObject({ action: "Allow", policy: null });
    list("NetworkPolicy");
    const by = { action: "Deny", policy: "NetworkPolicy/ns/closed", rule: "default-deny" };
    expect(await why("ns/free")).toMatchObject({ ...by, enforcement: { state: "not-enforced" } });
    const partly = { kind: "NetworkPolicy", namespace: "ns", name: "closed", uid, reason: "PartiallyEnforced" };
    const report = reportOf("n1", [{ ...partly, message: "peers inside are not decided here" }]);
    cluster.paths.set(`${GROUP}/egressnodestatuses/n1`, report);
    expect(await why("ns/free")).toMatchObject({ ...by, enforcement: { state: "enforced" } });
    const { document } = await json("policies", "ns/free");
    const onNode = "enforced, but peers inside are not decided here";
    expect(document.policies).toMatchObject([{ policy: by.policy, tier: "NetworkPolicy", defaultDeny: true, onNode }]);
  });

  test("are counted by coverage", async () => {
    const total = async () => (await json("coverage", "-n", "ns")).document.total;
    list("NetworkPolicy");
    expect(await total()).toMatchObject({ isolated: 1, restricted: 1, observed: 0 });
    list();
    expect(await total()).toMatchObject({ isolated: 1, restricted: 0, observed: 1 });
  });

  test("that may not be read are said", async () => {
    list("NetworkPolicy", "ClusterNetworkPolicy");
    serveReport({ policies: [entry({}), { kind: "NetworkPolicy", namespace: "ns", name: "closed", uid }] });
    expect(await why("ns/free")).toMatchObject({ action: "Deny", enforcement: { state: "enforced" } });
    cluster.forbid("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies");
    for (const destination of ["https://203.0.113.7/", "a.example"]) {
      const { enforcement } = (await json("why", "ns/free", destination)).document;
      expect(enforcement.state).toBe("unknown");
      expect(enforcement.why.join()).toContain("every ClusterNetworkPolicy may be in force as well");
      expect(enforcement.why.join()).toContain("ask for the ClusterRole `sallyport-operator`");
    }
  });
});

describe("why", () => {
  test("what explain says, and that the node enforces it", async () => {
    const { status, document } = await json("why", "ns/app", "https://a.example.com/");
    expect(status).toBe(0);
    expect(document).toMatchObject({
      action: "Allow",
      policy: "ClusterEgressPolicy/app",
      rule: "example",
      enforcement: { node: "n1", state: "enforced", why: [], agentVersion: "0.1.0" },
      unseen: [],
    });
    const { stdout } = await plugin("why", "app", "-n", "ns", "other.example", "--port", "22");
    expect(stdout).toMatch(/^ENFORCED on node `n1` \(agent 0\.1\.0, last news 1 min \d+ s ago\)/);
    expect(stdout).toContain("Deny  ns/app -> tcp://other.example:22");
  });

  test.each<readonly [string, () => void, string]>([
    ["an older generation", () => serveReport({ policies: [entry({ generation: 0 })] }), "has generation 0 of 1"],
    [
      "a policy that is refused",
      () => serveReport({ policies: [entry({ programmed: false, reason: "Invalid" })] }),
      "Invalid",
    ],
    [
      "a policy that is not reported",
      () => serveReport({ policies: [] }),
      "`ClusterEgressPolicy/app`: not reported yet",
    ],
    ["an agent that is not ready", () => serveReport({ ready: false }), "the agent is not ready"],
    [
      "a pod that policies do not hold",
      () =>
        serveReport({
          notEnforced: [{ namespace: "ns", pod: "app", reason: "Macvlan", message: "it leaves beside the node" }],
        }),
      "policies do not hold this pod: Macvlan, it leaves beside the node",
    ],
    [
      "enforcement that is set aside",
      () => serveReport({ bypass: [bypass("Namespace", "ns", 60)] }),
      "enforcement is set aside for namespace `ns` until",
    ],
    ["no report", () => cluster.paths.delete(`${GROUP}/egressnodestatuses/n1`), "its agent has not reported yet"],
    ["an agent that is gone", () => cluster.paths.set(SALLYPORT_PODS, { items: [] }), "no agent runs there now"],
    [
      "an agent that hangs",
      () => cluster.paths.set(SALLYPORT_PODS, { items: [agentOf("n1", { ready: false })] }),
      "does not answer",
    ],
  ])("not enforced: %s", async (_, change, reason) => {
    change();
    const { status, document } = await json("why", "ns/app", "a.example.com");
    expect(status).toBe(0);
    expect(document.enforcement.state).toBe("not-enforced");
    expect(document.enforcement.why.join()).toContain(reason);
    expect((await plugin("why", "ns/app", "a.example.com")).stdout).toMatch(/^NOT ENFORCED on node `n1`/);
  });

  test("what is set aside elsewhere, or was, changes nothing", async () => {
    serveReport({ bypass: [bypass("Namespace", "other", 60), bypass("All", undefined, -60)] });
    expect((await json("why", "ns/app", "a.example.com")).document.enforcement.state).toBe("enforced");
  });

  test("not known: the report has no room for the policy", async () => {
    serveReport({ policies: [], policiesLeftOut: 3 });
    expect((await json("why", "ns/app", "a.example.com")).document.enforcement.state).toBe("unknown");
  });

  test("what may not be looked at is said where it matters", async () => {
    cluster.forbid("/api/v1/nodes");
    const name = await json("why", "ns/app", "a.example.com");
    expect(name.document.unseen).toEqual([]);
    const address = await json("why", "ns/app", "tcp://192.0.2.9:22");
    expect(address.document.unseen).toEqual([expect.objectContaining({ what: "the node's own ranges" })]);
  });

  test("what the node is not told of is inside", async () => {
    const { document } = await json("why", "ns/app", "tcp://10.0.0.77:22");
    expect(document).toMatchObject({ action: "Allow", reason: "Inside" });
  });
});

describe("policies", () => {
  test("in the order in which they are asked, each with what has become of it", async () => {
    const first = policyOf(
      "first",
      { priority: 1, subject: {}, mode: "Audit" },
      { status: statusOf(1, "False", "0/1 nodes; n1: bad") },
    );
    const items = [...(cluster.paths.get(`${GROUP}/clusteregresspolicies`) as { items: object[] }).items, first];
    cluster.paths.set(`${GROUP}/clusteregresspolicies`, { items });
    const { document } = await json("policies", "ns/app");
    expect(document.policies).toMatchObject([
      {
        policy: "ClusterEgressPolicy/first",
        mode: "Audit",
        programmed: "False",
        onNode: "not reported yet",
        enforcedOnNode: false,
      },
      { policy: "ClusterEgressPolicy/app", rules: 1, accepted: "True", programmed: "True", enforcedOnNode: true },
    ]);
    expect(document).toMatchObject({ isolated: true, enforcement: { state: "not-enforced" } });
    const { stdout } = await plugin("policies", "ns/app");
    expect(stdout).toMatch(
      /ClusterEgressPolicy\/first .* 0\/1 nodes +not reported yet\n.*ClusterEgressPolicy\/app .* 1\/1 nodes +enforced\n/,
    );
  });

  test("none", async () => {
    expect((await plugin("policies", "free", "-n", "ns")).stdout).toContain("No policy selects `ns/free`");
  });
});

describe("status", () => {
  test("ready", async () => {
    const { status, stdout } = await plugin("status");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ready: everything is enforced\n/);
    expect(stdout).toMatch(/^nodes +1\/1 ready\n/m);
    expect(stdout).toMatch(/`c1` leads, renewed \d s ago/);
  });

  test.each<readonly [string, () => void, string]>([
    ["a node without an agent", () => addNode("n2"), "1 of 2 nodes do not enforce; `n2`: no agent"],
    ["an agent that is not ready", () => serveReport({ ready: false }), "1 of 1 nodes do not enforce"],
    [
      "a policy that no node enforces",
      () => servePolicy(statusOf(1, "False", "0/1 nodes")),
      "1 of 1 objects are not in force as they are written; `ClusterEgressPolicy/app`: 0/1 nodes",
    ],
    [
      "a policy that was changed since",
      () => servePolicy(statusOf(0)),
      "the controller has not looked at it as it now is",
    ],
    [
      "enforcement that is set aside",
      () => serveReport({ bypass: [bypass("Node", undefined, 60)] }),
      "on 1 of 1 nodes enforcement is set aside for all pods of the node until",
    ],
    ["no controller", () => cluster.paths.delete(LEASE), "no controller leads"],
    [
      "a controller that hangs",
      () => cluster.paths.set(LEASE, { spec: { holderIdentity: "c1", renewTime: "2020-01-01T00:00:00Z" } }),
      "has not been heard of since 2020",
    ],
  ])("not ready: %s", async (_, change, reason) => {
    change();
    const { status, document } = await json("status");
    expect(status).toBe(1);
    expect(document.reasons.join("\n")).toContain(reason);
    const text = await plugin("status");
    expect(text).toMatchObject({ status: 1, stdout: expect.stringContaining(reason) });
  });

  test("whoever may see less is told what was not looked at", async () => {
    for (const path of ["/api/v1/nodes", SALLYPORT_PODS, LEASE]) cluster.forbid(path);
    const { status, document } = await json("status");
    expect(status).toBe(0);
    expect(document.unseen.map(({ what }: { what: string }) => what).sort()).toEqual([
      "nodes without a report",
      "the agents' pods",
      "the controllers' pods",
      "which controller leads",
    ]);
  });
});

describe("coverage", () => {
  test("each pod is counted once, by what holds it", async () => {
    addNode("n2");
    const items = [
      podOf("ns", "app", { labels: { app: "app" } }),
      podOf("ns", "free"),
      podOf("ns", "bare"),
      podOf("ns", "far", { node: "n2" }),
      podOf("ns", "soon", { node: null, ip: null }),
      podOf("ns", "done", { phase: "Succeeded" }),
      podOf("other", "host", { hostNetwork: true }),
      // Its agent does not name it: it is held.
      podOf("ns", "told", { hostNetwork: true, labels: { app: "app" } }),
    ];
    const notEnforced = [
      { namespace: "ns", pod: "bare", reason: "Macvlan" },
      { namespace: "other", pod: "host", reason: "HostNetwork" },
    ];
    serveReport({ notEnforced, notEnforcedPods: 2 });
    cluster.paths.set("/api/v1/pods", { items });
    const { status, document } = await json("coverage", "-A");
    expect(status).toBe(0);
    expect(document.namespaces).toEqual([
      { namespace: "ns", pods: 6, isolated: 2, restricted: 0, observed: 1, notEnforced: 1, noAgent: 1, pending: 1 },
      { namespace: "other", pods: 1, isolated: 0, restricted: 0, observed: 0, notEnforced: 1, noAgent: 0, pending: 0 },
    ]);
    expect(document.total.pods).toBe(7);
    expect(document.reasons).toEqual({ Macvlan: 1, HostNetwork: 1, NoAgent: 1 });
    const { stdout } = await plugin("coverage", "-A");
    expect(stdout).toMatch(/^ns +6 +2 +0 +1 +1 +1 +1$/m);
    expect(stdout).toMatch(/^ns\/far +n2 +no agent$/m);
  });

  test("pods for which enforcement is set aside are not held", async () => {
    serveReport({ bypass: [bypass("Namespace", "ns", 60)] });
    const { document } = await json("coverage", "-n", "ns");
    expect(document).toMatchObject({ total: { pods: 2, notEnforced: 2 }, reasons: { Bypassed: 2 } });
  });

  test("of the namespace of the context", async () => {
    const path = cluster.writeKubeconfig("in-ns", { token: "secret" }, { namespace: "ns" });
    const { document } = await json("coverage", "--kubeconfig", path);
    expect(document).toMatchObject({ namespace: "ns", total: { pods: 2, isolated: 1, observed: 1 } });
  });
});

describe("what is wrong is said, and what to do", () => {
  test.each<readonly [string, readonly string[], () => void, string]>([
    ["no such pod", ["why", "ns/ap", "https://a"], () => undefined, "did you mean `app`?"],
    [
      "a pod of no address",
      ["why", "ns/app", "https://a"],
      () => servePod({ ip: null, phase: "Pending" }),
      "has no address yet",
    ],
    ["a pod that is over", ["policies", "ns/app"], () => servePod({ phase: "Failed" }), "is over (Failed)"],
    ["two namespaces", ["policies", "ns/app", "-n", "x"], () => undefined, "name two namespaces"],
    [
      "a port beside a URL",
      ["why", "ns/app", "https://a", "--port", "1"],
      () => undefined,
      "leave `--proto` and `--port` out",
    ],
    ["no kinds", ["status"], () => cluster.paths.delete(`${GROUP}/egressnodestatuses`), "`helm install`"],
    [
      "no right to the kinds",
      ["status"],
      () => cluster.forbid(`${GROUP}/egressnodestatuses`),
      "ask for the ClusterRole `sallyport-viewer`",
    ],
    [
      "no right to pods",
      ["coverage", "-A"],
      () => cluster.forbid("/api/v1/pods"),
      "ask for the ClusterRole `sallyport-operator`",
    ],
    [
      "no right to one pod",
      ["why", "ns/app", "https://a"],
      () => cluster.forbid("/api/v1/namespaces/ns/pods/app"),
      "ask for the ClusterRole `view` in that namespace",
    ],
    ["another cluster", ["status", "--context", "elsewhere"], () => undefined, "does not answer (connect ECONNREFUSED"],
    ["no such context", ["status", "--context", "none"], () => undefined, "no `none` in `contexts`"],
    [
      "no kubeconfig",
      ["status", "--kubeconfig", "/nowhere/config"],
      () => undefined,
      "name a kubeconfig with `--kubeconfig FILE`",
    ],
  ])("%s", async (_, words, change, message) => {
    change();
    const { status, stdout, stderr } = await plugin(...words);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^sallyport: .*\n$/);
  });

  test("`--as` is told to the API server", async () => {
    cluster.asked.length = 0;
    await plugin("policies", "ns/app", "--as", "anna", "--as-group", "a", "--as-group", "b");
    expect(cluster.asked.length).toBeGreaterThan(3);
    for (const { headers } of cluster.asked) {
      expect(headers).toMatchObject({ "impersonate-user": "anna", authorization: "Bearer secret" });
      expect(String(headers["impersonate-group"])).toMatch(/^a, ?b$/);
    }
  });
});

const SALLYPORT_PODS = "/api/v1/namespaces/sallyport/pods";
const LEASE = "/apis/coordination.k8s.io/v1/namespaces/sallyport/leases/sallyport-controller";
const entry = (more: object) => ({ kind: "ClusterEgressPolicy", name: "app", uid: "uid-app", ...more });

/** `seconds` from now it ends. */
function bypass(scope: string, namespace: string | undefined, seconds: number): object {
  const until = new Date(Date.now() + seconds * 1000).toISOString();
  return { id: "b1", scope, namespace, reason: "incident", by: "root", since: until, until };
}

function serveReport(more: { readonly policies?: readonly object[]; readonly [field: string]: unknown }): void {
  const { policies = [entry({})], ...rest } = more;
  const report = reportOf("n1", policies, rest);
  cluster.paths.set(`${GROUP}/egressnodestatuses`, { items: [report] });
  cluster.paths.set(`${GROUP}/egressnodestatuses/n1`, report);
}

function servePolicy(status: object): void {
  cluster.paths.set(`${GROUP}/clusteregresspolicies`, { items: [policyOf("app", {}, { status })] });
}

function servePod(choice: Record<string, unknown>): void {
  cluster.paths.set("/api/v1/namespaces/ns/pods/app", podOf("ns", "app", choice));
}

function addNode(name: string): void {
  const { items } = cluster.paths.get("/api/v1/nodes") as { items: object[] };
  cluster.paths.set("/api/v1/nodes", { items: [...items, { metadata: { name, uid: `uid-${name}` } }] });
}
