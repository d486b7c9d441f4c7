import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { ApiRequests } from "../support/api-request.ts";
import { apiServerBuilt } from "../support/api-server-built.ts";
import { startApiServer, stopApiServer } from "./api-server.ts";

const NAME = "rights";
const NAMESPACE = "app1-ns";
const deploy = (path: string) => readFileSync(fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url)), "utf8");

const PATHS: Readonly<Record<string, string>> = {
  ClusterRole: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  ClusterRoleBinding: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
  Role: `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/roles`,
  RoleBinding: `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/rolebindings`,
  ValidatingAdmissionPolicy: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
};

/** `roleRef` by name, a cluster's role unless the kind says otherwise. */
const binding = (kind: string, user: string, role: string, roleKind = "ClusterRole") => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind,
  metadata: { name: `${user}-${role}` },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: roleKind, name: role },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
});

const user = (name: string, labels: object) => ({
  metadata: { name, labels },
  spec: { containers: [{ name: "c", image: "none" }] },
});
const labelled = (ruleset: string | null) => (ruleset === null ? {} : { "egress-ruleset": ruleset });

describe.skipIf(!apiServerBuilt())("rights on a real API server", () => {
  let kubeconfig: string;
  let admin: ApiRequests;
  const clients: ApiRequests[] = [];

  const as = (user: string): ApiRequests => {
    const client = new ApiRequests(kubeconfig, user);
    clients.push(client);
    return client;
  };

  async function create(object: { readonly kind: string; readonly [field: string]: unknown }): Promise<void> {
    const { namespace = NAMESPACE } = (object["metadata"] ?? {}) as { readonly namespace?: string };
    const path = PATHS[object.kind]!.replace(`/${NAMESPACE}/`, `/${namespace}/`);
    const { status, body } = await admin.send("POST", path, object);
    expect(status, `${object.kind}: ${body.message}`).toBe(201);
  }

  async function mayDo(
    user: string,
    verb: string,
    resource: string,
    namespace = "",
    group = "sallyport.dev",
  ): Promise<boolean> {
    const [name = "", subresource = ""] = resource.split("/");
    const spec = { user, resourceAttributes: { verb, resource: name, subresource, group, namespace } };
    const { body } = await admin.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec,
    });
    return (body["status"] as { allowed: boolean }).allowed;
  }

  async function eventually(what: () => Promise<boolean>): Promise<void> {
    for (let left = 200; left > 0; left--) {
      if (await what()) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("it did not come about in ten seconds");
  }

  beforeAll(async () => {
    // The controllers aggregate roles.
    ({ kubeconfig } = await startApiServer(NAME, { controllers: true }));
    admin = new ApiRequests(kubeconfig);
    for (const name of [NAMESPACE, "sallyport"]) await admin.send("POST", "/api/v1/namespaces", { metadata: { name } });
    for (const file of ["rbac/people.yaml", "admission/egress-labels.yaml", "admission/static-pods.yaml"]) {
      for (const document of parseAllDocuments(deploy(file))) await create(document.toJS());
    }
    const rules = [
      { apiGroups: ["sallyport.dev"], resources: ["egressrulesets"], resourceNames: ["app1"], verbs: ["use"] },
    ];
    await create({ kind: "Role", metadata: { name: "egress-app1" }, rules });
    await create(binding("ClusterRoleBinding", "sam", "sallyport-security-team"));
    await create(binding("ClusterRoleBinding", "vera", "sallyport-viewer"));
    await create(binding("ClusterRoleBinding", "otto", "sallyport-operator"));
    const flows = binding("RoleBinding", "otto", "sallyport-flows", "Role");
    await create({ ...flows, metadata: { ...flows.metadata, namespace: "sallyport" } });
    await create(binding("RoleBinding", "anna", "sallyport-app-team"));
    await create(binding("RoleBinding", "anna", "edit"));
    await create(binding("RoleBinding", "anna", "egress-app1", "Role"));
    await create(binding("RoleBinding", "emil", "edit"));
    const controller = "system:serviceaccount:kube-system:replicaset-controller";
    await create({ ...binding("RoleBinding", controller, "edit"), metadata: { name: "a-controller" } });
    await eventually(
      async () =>
        (await mayDo("emil", "list", "egresspolicies", NAMESPACE)) &&
        (await mayDo("emil", "create", "pods", NAMESPACE, "")),
    );
    const accounts = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/default`;
    await eventually(async () => (await admin.send("GET", accounts)).status === 200);
    // An admission policy holds a moment after it is written.
    await eventually(async () => (await pod(as("emil"), "probe", "app1", "&dryRun=All")).status === 403);
  });

  afterAll(async () => {
    for (const client of [admin, ...clients]) client?.close();
    await stopApiServer(NAME);
  });

  const pods = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const pod = (client: ApiRequests, name: string, ruleset: string | null, query = "") =>
    client.send("POST", `${pods}?fieldManager=test${query}`, user(name, labelled(ruleset)));
  const relabel = (client: ApiRequests, name: string, ruleset: string | null, subresource = "") =>
    client.send(
      "PATCH",
      `${pods}/${name}${subresource}`,
      { metadata: { labels: { "egress-ruleset": ruleset } } },
      "application/merge-patch+json",
    );

  test.each([
    // Who, may, what, where ("": the whole cluster).
    ["sam", true, "create", "clusteregresspolicies", ""],
    ["sam", true, "update", "agentconfigs", ""],
    ["sam", true, "delete", "egresspolicies", NAMESPACE],
    ["sam", false, "update", "egressnodestatuses", ""],
    ["anna", true, "create", "egresspolicies", NAMESPACE],
    ["anna", false, "create", "egresspolicies", "other-ns"],
    ["anna", false, "create", "clusteregresspolicies", ""],
    ["anna", false, "create", "destinationgroups", ""],
    ["emil", true, "get", "egresspolicies", NAMESPACE],
    ["emil", false, "create", "egresspolicies", NAMESPACE],
    ["emil", false, "patch", "egresspolicies", NAMESPACE],
    ["vera", true, "watch", "clusteregresspolicies", ""],
    ["vera", true, "list", "egressnodestatuses", ""],
    ["vera", false, "create", "egresspolicies", NAMESPACE],
    ["otto", true, "list", "egressnodestatuses", ""],
    ["otto", false, "update", "egresspolicies", NAMESPACE],
  ])("%s: %s, to %s %s in `%s`", async (user, may, verb, resource, namespace) => {
    expect(await mayDo(user, verb, resource, namespace)).toBe(may);
  });

  test.each([
    ["otto", true, "list", "pods", ""],
    ["otto", true, "list", "nodes", ""],
    ["otto", true, "get", "pods/log", "sallyport"],
    ["otto", false, "get", "pods/log", NAMESPACE],
    ["otto", false, "create", "pods/exec", "sallyport"],
    ["otto", false, "list", "secrets", "sallyport"],
    ["vera", false, "get", "pods/log", "sallyport"],
  ])("%s: %s, to %s %s in `%s`", async (user, may, verb, resource, namespace) => {
    expect(await mayDo(user, verb, resource, namespace, "")).toBe(may);
  });

  test("only kubelets say which static pod an object mirrors", async () => {
    const node = { apiVersion: "v1", kind: "Node", name: "node1", uid: "u", controller: true };
    const mirror = (annotations: object) => ({
      metadata: { name: "mirror", annotations, ownerReferences: [node] },
      spec: { nodeName: "node1", containers: [{ name: "c", image: "none" }] },
    });
    const mirrors = { "kubernetes.io/config.mirror": "8f0e4c1b5a6d7e8f9a0b1c2d3e4f5a6b" };
    const send = (user: string, annotations: object) =>
      as(user).send("POST", `${pods}?dryRun=All`, mirror(annotations));
    await eventually(async () => (await send("emil", mirrors)).status === 403);
    expect((await send("emil", mirrors)).body.message).toContain("is for kubelets");
    const free = await send("emil", { "kubernetes.io/config.mirrored": "x" });
    expect(free.status, free.body.message).toBe(201);
    await create({
      kind: "ClusterRole",
      metadata: { name: "kubelet" },
      rules: [{ apiGroups: [""], resources: ["nodes/status"], verbs: ["update"] }],
    });
    await create(binding("ClusterRoleBinding", "emil", "kubelet"));
    await eventually(async () => (await send("emil", mirrors)).status === 201);
    // Nor does an object that is there become a mirror.
    expect((await as("emil").send("POST", pods, { ...mirror({}), metadata: { name: "later" } })).status).toBe(201);
    const change = { metadata: { annotations: mirrors } };
    const changed = await as("emil").send("PATCH", `${pods}/later`, change, "application/merge-patch+json");
    expect(changed.status, changed.body.message).toBe(422);
  });

  describe("the label that says which rules hold", () => {
    test("who may use a ruleset may give it to a pod", async () => {
      const { status, body } = await pod(as("anna"), "a1", "app1");
      expect(status, body.message).toBe(201);
      expect((await pod(as("emil"), "plain", null)).status).toBe(201);
    });

    test("nobody else may, and is told what is missing", async () => {
      const { status, body } = await pod(as("anna"), "a2", "app2");
      expect(status).toBe(403);
      expect(body.message).toContain(
        "to change it from `` to `app2` you need the right to `use` both in namespace `app1-ns`",
      );
      expect((await pod(as("emil"), "a2", "app1")).status).toBe(403);
    });

    test("to change it or to take it away, one needs both values", async () => {
      const anna = as("anna");
      expect((await relabel(anna, "a1", "app2")).status).toBe(403);
      expect((await relabel(as("emil"), "a1", null)).status).toBe(403);
      expect((await relabel(as("emil"), "plain", "app1")).status).toBe(403);
      // Other labels are free.
      const other = await as("emil").send(
        "PATCH",
        `${pods}/a1`,
        { metadata: { labels: { color: "red" } } },
        "application/merge-patch+json",
      );
      expect(other.status, other.body.message).toBe(200);
      expect((await relabel(anna, "a1", null)).status).toBe(200);
    });

    test("subresources are no way around", async () => {
      await create({
        kind: "Role",
        metadata: { name: "status" },
        rules: [{ apiGroups: [""], resources: ["pods/status", "pods/binding"], verbs: ["*"] }],
      });
      await create(binding("RoleBinding", "emil", "status", "Role"));
      // The role holds a moment after it is written; until then the refusal is another one.
      const refusal = async () => (await relabel(as("emil"), "plain", "app1", "/status")).body.message ?? "";
      await eventually(async () => (await refusal()).includes("`egress-ruleset`"));
      const bound = await as("emil").send("POST", `${pods}/plain/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "plain", labels: labelled("app1") },
        target: { kind: "Node", name: "n" },
      });
      expect(bound.body.message).toContain("egress-ruleset");
    });

    test.each([
      ["deployments", (template: object) => ({ selector: { matchLabels: { a: "b" } }, template })],
      ["replicasets", (template: object) => ({ selector: { matchLabels: { a: "b" } }, template })],
      ["statefulsets", (template: object) => ({ serviceName: "s", selector: { matchLabels: { a: "b" } }, template })],
      ["daemonsets", (template: object) => ({ selector: { matchLabels: { a: "b" } }, template })],
      ["jobs", (template: object) => ({ template })],
      ["cronjobs", (template: object) => ({ schedule: "0 0 * * *", jobTemplate: { spec: { template } } })],
      ["replicationcontrollers", (template: object) => ({ selector: { a: "b" }, template })],
    ])("templates are judged: %s", async (resource, spec) => {
      const group =
        resource === "replicationcontrollers"
          ? "/api/v1"
          : resource.endsWith("jobs")
            ? "/apis/batch/v1"
            : "/apis/apps/v1";
      const made = (ruleset: string | null) => ({
        metadata: { generateName: "t-" },
        spec: spec({
          metadata: { labels: { a: "b", ...labelled(ruleset) } },
          spec: {
            restartPolicy: resource.endsWith("jobs") ? "Never" : "Always",
            containers: [{ name: "c", image: "none" }],
          },
        }),
      });
      const send = (user: string, ruleset: string | null) =>
        as(user).send("POST", `${group}/namespaces/${NAMESPACE}/${resource}?dryRun=All`, made(ruleset));
      const own = await send("anna", "app1");
      expect(own.status, own.body.message).toBe(201);
      expect((await send("emil", null)).status).toBe(201);
      const refused = await send("anna", "app2");
      expect(refused.status).toBe(403);
      expect(refused.body.message).toContain("`app2`");
    });

    test("what controllers of Kubernetes make of a judged template is not judged again", async () => {
      const { status, body } = await pod(as("system:serviceaccount:kube-system:replicaset-controller"), "made", "app2");
      expect(status, body.message).toBe(201);
    });
  });
});
