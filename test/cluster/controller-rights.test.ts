import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { NODES_KEY, RANGES_KEY, RANGES_NAME } from "../../src/agent/cluster/ranges.ts";
import { UNINSTALL_KEY } from "../../src/agent/cluster/uninstall.ts";
import { createLogger } from "../../src/agent/log.ts";
import { ClusterRanges } from "../../src/controller/cluster-ranges.ts";
import type { Lease } from "../../src/controller/lease.ts";
import { LeaseObject } from "../../src/controller/lease-object.ts";
import { KubeClient } from "../../src/kube/client.ts";
import { kubeconfigAccess } from "../../src/kube/kubeconfig.ts";
import { must } from "../../src/lab/process.ts";
import { type ApiAnswer, ApiRequests } from "../support/api-request.ts";
import { apiServerBuilt } from "../support/api-server-built.ts";
import { type ApiServer, startApiServer, stopApiServer } from "./api-server.ts";

const SOON = { timeout: 60_000, interval: 100 };
const NAME = "ctrlright";
const NAMESPACE = "sallyport";
const account = (name: string) => `system:serviceaccount:${NAMESPACE}:${name}`;
const deploy = fileURLToPath(new URL("../../deploy", import.meta.url));
const HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING = HOOKS.replace("validating", "mutating");
const MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const RANGES = `${MAPS}/${RANGES_NAME}`;
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const APPLY = "application/apply-patch+yaml";
/** Some certificate: API servers look whether it is one. */
let bundle: string;

const webhook = (name: string) => ({
  name,
  admissionReviewVersions: ["v1"],
  sideEffects: "None",
  failurePolicy: "Ignore",
  clientConfig: { service: { name: "sallyport-webhook", namespace: NAMESPACE, path: "/validate", port: 443 } },
  rules: [
    { apiGroups: ["sallyport.dev"], apiVersions: ["v1alpha1"], operations: ["CREATE"], resources: ["agentconfigs"] },
  ],
});
const configuration = (name: string) => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingWebhookConfiguration",
  metadata: { name },
  webhooks: [webhook("a.sallyport.dev"), webhook("b.sallyport.dev")],
});
const map = (data: object) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: RANGES_NAME }, data });

describe.skipIf(!apiServerBuilt())("the controller, on a real API server", () => {
  let server: ApiServer;
  let admin: ApiRequests;
  let controller: ApiRequests;
  let everywhere: ApiRequests;
  let uninstall: ApiRequests;
  let security: ApiRequests;
  /** As the controller's account. */
  let client: KubeClient;

  const kubectl = (...words: string[]) => must([server.kubectl, "--kubeconfig", server.kubeconfig, ...words]);
  const grant = async (user: string, ...rights: string[]) => {
    const name = user.split(":").at(-1)!;
    await kubectl("create", "clusterrole", `test-${name}`, ...rights);
    await kubectl("create", "clusterrolebinding", `test-${name}`, `--clusterrole=test-${name}`, `--user=${user}`);
  };

  beforeAll(async () => {
    server = await startApiServer(NAME);
    admin = new ApiRequests(server.kubeconfig);
    controller = new ApiRequests(server.kubeconfig, account("sallyport-controller"));
    uninstall = new ApiRequests(server.kubeconfig, account("sallyport-uninstall"));
    everywhere = new ApiRequests(server.kubeconfig, "copies-config-maps");
    security = new ApiRequests(server.kubeconfig, "sam");
    const impersonation = { "impersonate-user": account("sallyport-controller") };
    client = new KubeClient({ ...kubeconfigAccess(server.kubeconfig), impersonation });
    bundle = Buffer.from(await must(["openssl", "x509", "-in", `${server.directory}/tls/ca.pem`])).toString("base64");
    await kubectl("create", "namespace", NAMESPACE);
    const files = ["rbac/controller.yaml", "admission/webhook.yaml", "admission/ranges.yaml"];
    await kubectl("apply", "--server-side", ...files.flatMap((file) => ["-f", `${deploy}/${file}`]));
    await grant("copies-config-maps", "--verb=create,update,patch,delete", "--resource=configmaps");
    await grant(account("sallyport-uninstall"), "--verb=create,patch", "--resource=configmaps");
    const rules = [
      { apiGroups: [""], resources: ["configmaps"], verbs: ["patch", "create"] },
      { apiGroups: ["sallyport.dev"], resources: ["agentconfigs"], verbs: ["update"] },
    ];
    await admin.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {
      metadata: { name: "test-sam" },
      rules,
    });
    await kubectl("create", "clusterrolebinding", "test-sam", "--clusterrole=test-sam", "--user=sam");
    for (const name of ["sallyport", "other"]) {
      expect((await admin.send("POST", HOOKS, configuration(name))).status).toBe(201);
    }
    await holds(() => put(everywhere, { [UNINSTALL_KEY]: "now" }), "takes Sallyport's rules");
    await holds(() => change("sallyport", { failurePolicy: "Fail" }), "nothing of its webhooks but");
  });

  afterAll(async () => {
    for (const one of [admin, controller, everywhere, uninstall, security, client]) one?.close();
    await stopApiServer(NAME);
  });

  /** Roles and admission policies hold a moment after they are written, a longer one on a machine with other work. */
  async function holds(ask: () => Promise<ApiAnswer>, refusal: string): Promise<void> {
    const said = async () => (await ask()).body.message ?? "";
    await vi.waitFor(async () => expect(await said()).toContain(refusal), SOON);
  }

  /** Each as an applier of its own: what one says stays when another speaks. */
  const put = (as: ApiRequests, data: object) => {
    const applier = ["controller", "uninstall", "other"][[controller, uninstall].indexOf(as)] ?? "other";
    return as.send("PATCH", `${RANGES}?fieldManager=${applier}&force=true`, map(data), APPLY);
  };
  const change = (name: string, webhook: object, as = controller) =>
    as.send("PATCH", `${HOOKS}/${name}`, { webhooks: [{ name: "a.sallyport.dev", ...webhook }] }, STRATEGIC);
  const forbidden = async (answer: Promise<ApiAnswer>, words: string) => {
    const { status, body } = await answer;
    expect(status, body.message).toBe(403);
    expect(body.message).toContain(words);
  };

  describe("its webhook", () => {
    test("whose certificates are trusted is for it to say, and to say again", async () => {
      const said = await change("sallyport", { clientConfig: { caBundle: bundle } });
      expect(said.status, said.body.message).toBe(200);
      const [first, second] = said.body["webhooks"] as { clientConfig: { caBundle?: string } }[];
      expect([first?.clientConfig.caBundle, second?.clientConfig.caBundle]).toEqual([bundle, undefined]);
      const path = `${HOOKS}?fieldSelector=metadata.name%3Dsallyport`;
      expect((await controller.send("GET", path)).status).toBe(200);
    });

    test.each<readonly [string, object]>([
      ["what it is asked about", { rules: [{ ...webhook("").rules[0], apiGroups: ["*"], resources: ["*"] }] }],
      ["who is asked", { clientConfig: { service: { namespace: "elsewhere" } } }],
      ["its path", { clientConfig: { service: { path: "/take" } } }],
      ["what happens without an answer", { failurePolicy: "Fail" }],
      ["how long is waited", { timeoutSeconds: 30 }],
      ["in which namespaces", { namespaceSelector: { matchLabels: { a: "b" } } }],
      ["about which objects", { objectSelector: { matchLabels: { a: "b" } } }],
      ["on which conditions", { matchConditions: [{ name: "never", expression: "false" }] }],
      ["for which versions", { matchPolicy: "Exact" }],
      ["effects", { sideEffects: "NoneOnDryRun" }],
      ["a third one", { ...webhook("c.sallyport.dev") }],
    ])("%s is not", async (_, change_) => {
      await forbidden(change("sallyport", change_), "may change nothing of its webhooks but `clientConfig.caBundle`");
    });

    test("nor may it take one out, or write on the object", async () => {
      const less = { webhooks: [webhook("a.sallyport.dev")] };
      await forbidden(controller.send("PATCH", `${HOOKS}/sallyport`, less, MERGE), "nothing of its webhooks");
      const labels = { metadata: { labels: { a: "b" } } };
      await forbidden(controller.send("PATCH", `${HOOKS}/sallyport`, labels, MERGE), "nothing of its webhooks");
    });

    test("other configurations are not its own, nor does it make or delete any", async () => {
      await forbidden(change("other", { clientConfig: { caBundle: bundle } }), "cannot patch");
      await forbidden(controller.send("POST", HOOKS, configuration("mine")), "cannot create");
      await forbidden(controller.send("DELETE", `${HOOKS}/sallyport`), "cannot delete");
    });

    test("and not even if some role allowed it", async () => {
      const resources = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
      await grant(account("sallyport-controller"), "--verb=create,patch,delete", `--resource=${resources}`);
      const words = "may change the ValidatingWebhookConfiguration `sallyport`, and no other";
      await holds(() => change("other", { clientConfig: { caBundle: bundle } }), words);
      await forbidden(controller.send("POST", HOOKS, configuration("mine")), words);
      await forbidden(controller.send("DELETE", `${HOOKS}/sallyport`), words);
      const mutating = { ...configuration("mine"), kind: "MutatingWebhookConfiguration" };
      await forbidden(controller.send("POST", MUTATING, mutating), words);
      // Nobody else is held by it.
      expect((await change("sallyport", { timeoutSeconds: 9 }, admin)).status).toBe(200);
    });
  });

  describe("what agents believe", () => {
    const word = { [UNINSTALL_KEY]: "2026-01-01T00:00:00Z" };
    const ranges = { [RANGES_KEY]: "10.1.0.0/16" };

    test("it writes the ranges: also where there is no such object yet", async () => {
      const made = await put(controller, ranges);
      expect(made.status, made.body.message).toBe(201);
      const changed = await put(controller, { [RANGES_KEY]: "10.2.0.0/16" });
      expect(changed.body["data"]).toEqual({ [RANGES_KEY]: "10.2.0.0/16" });
    });

    test("not that Sallyport goes", async () => {
      await forbidden(put(controller, { ...ranges, ...word }), "its own uninstallation writes it");
      await forbidden(controller.send("PATCH", RANGES, { data: word }, MERGE), "its own uninstallation writes it");
    });

    test("its uninstallation says that, and no ranges", async () => {
      await forbidden(put(uninstall, { ...word, ...ranges }), "say what is inside the cluster");
      const said = await put(uninstall, word);
      expect(said.status, said.body.message).toBe(200);
      expect(said.body["data"]).toEqual({ [RANGES_KEY]: "10.2.0.0/16", ...word });
      // Who writes ranges leaves the word as it is.
      expect((await put(controller, ranges)).body["data"]).toEqual({ ...ranges, ...word });
    });

    test("who may write ConfigMaps anywhere says neither, and takes neither away", async () => {
      await forbidden(put(everywhere, { [RANGES_KEY]: "0.0.0.0/0" }), "say what is inside the cluster");
      const crowd = { data: { [NODES_KEY]: "1000000000" } };
      await forbidden(everywhere.send("PATCH", RANGES, crowd, MERGE), "say what is inside the cluster");
      const none = { data: { [RANGES_KEY]: null } };
      await forbidden(everywhere.send("PATCH", RANGES, none, MERGE), "say what is inside the cluster");
      const unsaid = { data: { [UNINSTALL_KEY]: null } };
      await forbidden(everywhere.send("PATCH", RANGES, unsaid, MERGE), "its own uninstallation writes it");
      const beside = await everywhere.send("PATCH", RANGES, { data: { other: "1" } }, MERGE);
      expect(beside.status, beside.body.message).toBe(200);
      const elsewhere = `/api/v1/namespaces/default/configmaps/${RANGES_NAME}?fieldManager=t`;
      expect((await everywhere.send("PATCH", elsewhere, map(ranges), APPLY)).status).toBe(201);
    });

    test("who may update AgentConfigs may say both, for such could say as much there", async () => {
      const said = await put(security, { ...word, [RANGES_KEY]: "10.3.0.0/16" });
      expect(said.status, said.body.message).toBe(200);
    });

    test("no other ConfigMap is the controller's", async () => {
      await forbidden(controller.send("POST", MAPS, map(ranges)), "cannot create");
      const other = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "other" } };
      await forbidden(controller.send("PATCH", `${MAPS}/other?fieldManager=c`, other, APPLY), "cannot patch");
      await forbidden(controller.send("GET", MAPS), "cannot list");
      await forbidden(controller.send("DELETE", RANGES), "cannot delete");
    });

    test("its own code writes as its rights are cut", async () => {
      await admin.send("DELETE", RANGES);
      const node = { metadata: { name: "n1" }, spec: { podCIDR: "10.9.1.0/24", podCIDRs: ["10.9.1.0/24"] } };
      expect((await admin.send("POST", "/api/v1/nodes", node)).status).toBe(201);
      const writer = new ClusterRanges(client, NAMESPACE, () => true, createLogger("error"));
      writer.start();
      const written = async () => (await admin.send("GET", RANGES)).body["data"];
      await expect.poll(written, { timeout: 15_000 }).toEqual({ [RANGES_KEY]: "10.9.1.0/24", [NODES_KEY]: "1" });
      writer.close();
    });
  });

  describe("its Lease", () => {
    const lease = (holderIdentity: string, resourceVersion?: string): Lease => ({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name: "sallyport-controller",
        namespace: NAMESPACE,
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      spec: { holderIdentity, leaseDurationSeconds: 15 },
    });

    test("is made once, whoever comes second, and replaced by who knows its version", async () => {
      const store = new LeaseObject(client, { name: "sallyport-controller", namespace: NAMESPACE });
      expect(await store.read()).toBeNull();
      const [one, two] = await Promise.all([store.create(lease("a")), store.create(lease("b"))]);
      expect([one, two].filter((made) => made === null)).toHaveLength(1);
      const made = (one ?? two)!;
      expect(await store.create(lease("c"))).toBeNull();
      const next = await store.replace(lease("c", made.metadata.resourceVersion));
      expect(next?.spec.holderIdentity).toBe("c");
      expect(await store.replace(lease("b", made.metadata.resourceVersion))).toBeNull();
    });

    test("others are not: not made, not taken", async () => {
      const other = { ...lease("a"), metadata: { name: "other", namespace: NAMESPACE } };
      await forbidden(controller.send("POST", LEASES, other), "cannot create");
      await forbidden(controller.send("PUT", `${LEASES}/other`, other), "cannot update");
      await forbidden(controller.send("GET", LEASES), "cannot list");
    });
  });

  test.each([
    ["list", "/api/v1/secrets"],
    ["list", `/api/v1/namespaces/${NAMESPACE}/secrets`],
    ["get", `/api/v1/namespaces/${NAMESPACE}/secrets/other`],
    ["list", "/api/v1/pods"],
    ["list", HOOKS],
  ])("it may not %s %s", async (_, path) => {
    expect((await controller.send("GET", path)).status).toBe(403);
  });
});
