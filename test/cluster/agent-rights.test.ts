import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { run } from "../../src/lab/process.ts";
import { API_VERSION } from "../../src/policy/schema.ts";
import type { NodeStatusText } from "../../src/policy/status-schema.ts";
import { ApiRequests } from "../support/api-request.ts";
import { apiServerBuilt } from "../support/api-server-built.ts";
import { type ApiServer, startApiServer, stopApiServer } from "./api-server.ts";

const SOON = { timeout: 60_000, interval: 100 };
const NAME = "agentright";
const AGENT = "system:serviceaccount:sallyport:sallyport-agent";
const STATUSES = `/apis/${API_VERSION}/egressnodestatuses`;
const deploy = fileURLToPath(new URL("../../deploy", import.meta.url));

describe.skipIf(!apiServerBuilt())("an agent, on a real API server", () => {
  let server: ApiServer;
  let admin: ApiRequests;
  let agent: ApiRequests;
  let unbound: ApiRequests;

  beforeAll(async () => {
    server = await startApiServer(NAME);
    admin = new ApiRequests(server.kubeconfig);
    agent = new ApiRequests(server.kubeconfig, AGENT, "node1");
    unbound = new ApiRequests(server.kubeconfig, AGENT);
    await admin.send("POST", "/api/v1/namespaces", { metadata: { name: "sallyport" } });
    const files = ["crds", "rbac/agent.yaml", "admission/node-status.yaml"].flatMap((path) => [
      "-f",
      `${deploy}/${path}`,
    ]);
    const applied = await run([server.kubectl, "--kubeconfig", server.kubeconfig, "apply", "--server-side", ...files]);
    expect(applied.status, applied.stderr).toBe(0);
    // Definitions, roles and admission policies hold a moment after they are written.
    const said = async () => (await unbound.send("POST", `${STATUSES}?dryRun=All`, status("probe"))).body.message ?? "";
    await vi.waitFor(async () => expect(await said()).toContain("bound to no node"), SOON);
  });

  afterAll(async () => {
    for (const client of [admin, agent, unbound]) client?.close();
    await stopApiServer(NAME);
  });

  const status = (name: string) => ({ apiVersion: API_VERSION, kind: "EgressNodeStatus", metadata: { name } });
  const write = (client: ApiRequests, name: string, status: unknown) =>
    client.send("PATCH", `${STATUSES}/${name}/status`, { status }, "application/merge-patch+json");

  test("writes the status of its own node", async () => {
    const created = await agent.send("POST", STATUSES, status("node1"));
    expect(created.status, created.body.message).toBe(201);
    const full: NodeStatusText = {
      agentVersion: "0.1.0",
      observedAt: "2026-01-01T00:00:00Z",
      ready: true,
      policies: Array.from({ length: 2000 }, (_, i) => ({
        kind: "EgressPolicy" as const,
        namespace: "team",
        name: `policy-${i}`,
        uid: "00000000-0000-0000-0000-000000000000",
        generation: 1,
        programmed: false,
        reason: "UnknownField",
        message: "spec.rules[0].to[0].sni: unknown field `sni` in `to`",
        selectedPods: 1,
      })),
      policiesLeftOut: 3,
      notEnforced: [{ namespace: "team", pod: "a", reason: "HostNetwork" }],
      notEnforcedPods: 1,
      denials: Array.from({ length: 64 }, (_, i) => ({
        namespace: "team",
        pod: `pod-${i}`,
        podUid: "00000000-0000-0000-0000-000000000000",
        policy: "EgressPolicy/team/own",
        rule: "ssh",
        reason: "RuleMatched",
        destination: `TCP ${"a".repeat(290)}:22`.slice(0, 300),
        count: 1 + i,
        firstSeen: "2026-01-01T00:00:00Z",
        lastSeen: "2026-01-01T00:00:05Z",
      })),
      denialsLeftOut: 7,
    };
    const written = await write(agent, "node1", full);
    expect(written.status, written.body.message).toBe(200);
    expect(written.body["status"]).toMatchObject({ policies: { length: 2000 }, denials: { length: 64 } });
    const shown = async () => (await run([server.kubectl, "--kubeconfig", server.kubeconfig, "get", "ens"])).stdout;
    await expect
      .poll(shown, { timeout: 20_000 })
      .toMatch(/^NAME +READY +NOT-ENFORCED +VERSION +OBSERVED +AGE\nnode1 +true +1 +0\.1\.0 /);
  });

  test("a status that the definition does not know is refused", async () => {
    for (const wrong of [{ ready: "yes" }, { policies: [{ kind: "Pod" }] }, { observedAt: "now" }]) {
      expect((await write(agent, "node1", wrong)).status, JSON.stringify(wrong)).toBe(422);
    }
  });

  test("not that of another node, nor any without a token of a node", async () => {
    await admin.send("POST", STATUSES, status("node2"));
    const other = await write(agent, "node2", { ready: false });
    expect(other.status).toBe(403);
    expect(other.body.message).toContain("the agent of node `node1` may not write the status of `node2`");
    expect((await agent.send("POST", STATUSES, status("node3"))).status).toBe(403);
    expect((await write(unbound, "node1", { ready: false })).status).toBe(403);
  });

  test.each([
    ["list", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1", 200],
    ["list", "/api/v1/namespaces", 200],
    ["list", "/api/v1/nodes?fieldSelector=metadata.name%3Dnode1", 200],
    ["list", `/apis/${API_VERSION}/clusteregresspolicies`, 200],
    ["list", `/apis/${API_VERSION}/egresspolicies`, 200],
    ["list", `/apis/${API_VERSION}/destinationgroups`, 200],
    ["list", `/apis/${API_VERSION}/agentconfigs`, 200],
    ["list", "/apis/networking.k8s.io/v1/servicecidrs", 200],
    ["list", "/api/v1/namespaces/kube-system/services", 200],
    ["list", "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", 200],
    ["list", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", 200],
    ["list", "/apis/discovery.k8s.io/v1/namespaces/sallyport/endpointslices", 403],
    ["list", "/api/v1/secrets", 403],
    ["list", "/api/v1/namespaces/sallyport/configmaps", 403],
    ["list", STATUSES, 403],
  ])("may it %s %s: %i", async (_, path, expected) => {
    const { status, body } = await agent.send("GET", path);
    expect(status, body.message).toBe(expected);
  });

  test.each(["clusteregresspolicies", "destinationgroups", "agentconfigs"])("writes no %s", async (resource) => {
    expect((await agent.send("POST", `/apis/${API_VERSION}/${resource}`, { metadata: { name: "a" } })).status).toBe(
      403,
    );
    expect((await agent.send("DELETE", `/apis/${API_VERSION}/${resource}/a`)).status).toBe(403);
  });

  describe("of the standard policies", () => {
    const NETWORK = "/apis/networking.k8s.io/v1/networkpolicies";
    const CLUSTER = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
    const inDefault = NETWORK.replace("networkpolicies", "namespaces/default/networkpolicies");
    const source = async (kind: string) => {
      const words = ["apply", "--server-side", "-f", `${deploy}/rbac/sources/${kind}.yaml`];
      const applied = await run([server.kubectl, "--kubeconfig", server.kubeconfig, ...words]);
      expect(applied.status, applied.stderr).toBe(0);
    };
    const listed = async (path: string) => (await agent.send("GET", path)).status;

    test("it reads none while no source is on", async () => {
      expect(await listed(NETWORK)).toBe(403);
      expect(await listed(CLUSTER)).toBe(403);
    });

    test("it reads those of the source that is on, and no others", async () => {
      await source("networkpolicies");
      await expect.poll(() => listed(NETWORK), { timeout: 10_000 }).toBe(200);
      expect(await listed(CLUSTER)).toBe(403);
      await source("clusternetworkpolicies");
      // Nobody has defined them here: that it is allowed is all there is to see.
      await expect.poll(() => listed(CLUSTER), { timeout: 10_000 }).toBe(404);
    });

    test("it writes none, nor gets one by name", async () => {
      const policy = { metadata: { name: "a" }, spec: { podSelector: {} } };
      expect((await admin.send("POST", inDefault, policy)).status).toBe(201);
      const merge = "application/merge-patch+json";
      for (const [method, path, body] of [
        ["GET", `${inDefault}/a`, undefined],
        ["POST", inDefault, { ...policy, metadata: { name: "b" } }],
        ["PUT", `${inDefault}/a`, policy],
        ["PATCH", `${inDefault}/a`, { spec: { policyTypes: ["Egress"] } }],
        ["DELETE", `${inDefault}/a`, undefined],
        ["DELETE", inDefault, undefined],
        ["POST", CLUSTER, policy],
        ["DELETE", `${CLUSTER}/a`, undefined],
      ] as const) {
        expect((await agent.send(method, path, body, merge)).status, `${method} ${path}`).toBe(403);
      }
    });
  });
});
