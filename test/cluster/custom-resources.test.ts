import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse, parseAllDocuments, stringify } from "yaml";
import { run } from "../../src/lab/process.ts";
import { CUSTOM_RESOURCES, customResourceFiles } from "../../src/policy/custom-resources.ts";
import { API_VERSION } from "../../src/policy/schema.ts";
import { type ApiAnswer, ApiRequests } from "../support/api-request.ts";
import { apiServerBuilt } from "../support/api-server-built.ts";
import { pagesOf, shownDocuments } from "../support/pages.ts";
import { POLICY_CASES } from "../support/policy-cases.ts";
import { type ApiServer, startApiServer, stopApiServer } from "./api-server.ts";

const SOON = { timeout: 60_000, interval: 100 };
const NAME = "crdtest";
const root = fileURLToPath(new URL("../..", import.meta.url));
interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

describe.skipIf(!apiServerBuilt())("on a real API server", () => {
  let server: ApiServer;
  let api: ApiRequests;

  beforeAll(async () => {
    server = await startApiServer(NAME);
    api = new ApiRequests(server.kubeconfig);
    for (const [file, text] of customResourceFiles()) {
      const name = parse(text).metadata.name;
      const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}?fieldManager=test&fieldValidation=Strict`;
      const { status, body } = await api.send("PATCH", path, text, "application/apply-patch+yaml");
      expect(status, `${file}: ${body.message}`).toBe(201);
    }
    await established();
  });

  afterAll(async () => {
    api?.close();
    await stopApiServer(NAME);
  });

  async function established(): Promise<void> {
    const served = async () => {
      const { body } = await api.send("GET", `/apis/${API_VERSION}`);
      return ((body["resources"] ?? []) as { kind: string }[]).map(({ kind }) => kind);
    };
    const kinds = CUSTOM_RESOURCES.map(({ kind }) => kind);
    await vi.waitFor(async () => expect(await served()).toEqual(expect.arrayContaining(kinds)), SOON);
  }

  function pathOf(kind: string, namespace: string | undefined): string {
    const { plural, scope } = CUSTOM_RESOURCES.find((resource) => resource.kind === kind)!;
    return `/apis/${API_VERSION}${scope === "Namespaced" ? `/namespaces/${namespace ?? "default"}` : ""}/${plural}`;
  }

  /** As `kubectl create --dry-run=server` does. */
  async function create(text: string): Promise<ApiAnswer> {
    const { kind, metadata } = parse(text) as Named;
    return api.send(
      "POST",
      `${pathOf(kind, metadata.namespace)}?dryRun=All&fieldValidation=Strict`,
      JSON.stringify(parse(text)),
    );
  }

  const shown = (text: string) => text.slice(text.indexOf("spec:")).slice(0, 120);
  test.each(POLICY_CASES.map((one) => ({ ...one, shown: shown(one.text) })))(
    "$check: $becomes: $shown",
    async (one) => {
      const { status, body } = await create(one.text);
      if (one.becomes !== "refused") expect(status, body.message).toBe(201);
      else expect([400, 422], JSON.stringify(body)).toContain(status);
    },
  );

  test.each(examples())("$name is accepted", async ({ text }) => {
    for (const document of parseAllDocuments(text)) {
      const object = document.toJS() as Named;
      if (!CUSTOM_RESOURCES.some(({ kind }) => kind === object?.kind)) continue;
      const { namespace } = object.metadata;
      if (namespace !== undefined) await api.send("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
      const { status, body } = await create(stringify(object));
      expect(status, body.message).toBe(201);
    }
  });

  test("a refusal says what is right, in the words of `validate`", async () => {
    const refused = POLICY_CASES.find(
      ({ check, becomes }) => check === "when-hidden-on-deny" && becomes === "refused",
    )!;
    const { body } = await create(refused.text);
    expect(body.message).toContain("spec.rules[0]: Invalid value");
    expect(body.message).toContain("`whenHidden` is for `Deny` rules: leave it out");
  });

  test("`kubectl explain` says what a field means, by short name", async () => {
    const explain = async (field: string) =>
      (await run([server.kubectl, "--kubeconfig", server.kubeconfig, "explain", field])).stdout.replace(/\s+/g, " ");
    // The description of an API is published a moment after the API.
    await expect.poll(() => explain("ens.status"), { timeout: 20_000 }).not.toBe("");
    expect(await explain("ceg.spec.rules.to")).toContain("Entries are ORed, the fields of one entry are ANDed.");
    expect(await explain("eg.spec.subject.podSelector")).toContain("Labels of the pod.");
    expect(await explain("dg.spec.except")).toContain("taken out of them");
    expect(await explain("agc.spec.limits.heldPackets")).toContain("Packets that wait");
    expect(await explain("ens.status.policies.reason")).toContain("UnknownField");
  });

  test("`kubectl get` shows what the status says", async () => {
    const kubectl = async (...argv: string[]) => run([server.kubectl, "--kubeconfig", server.kubeconfig, ...argv]);
    const path = pathOf("ClusterEgressPolicy", undefined);
    const spec = { tier: "Admin", priority: 7, defaultDeny: true };
    const metadata = { name: "shown" };
    await api.send("POST", path, { apiVersion: API_VERSION, kind: "ClusterEgressPolicy", metadata, spec });
    const at = { lastTransitionTime: "2026-01-01T00:00:00Z", observedGeneration: 1 };
    const conditions = [
      { type: "Accepted", status: "True", reason: "Accepted", message: "", ...at },
      { type: "Programmed", status: "False", reason: "UnknownField", message: "11/12 nodes", ...at },
    ];
    const status = { observedGeneration: 1, selectedPods: 42, conditions };
    const written = await api.send("PATCH", `${path}/shown/status`, { status }, "application/merge-patch+json");
    expect(written.status, written.body.message).toBe(200);
    const { stdout } = await kubectl("get", "ceg", "-o", "wide");
    const [head = "", row = ""] = stdout.split("\n");
    expect(head.split(/\s{2,}/)).toEqual([
      "NAME",
      "TIER",
      "PRIORITY",
      "MODE",
      "DEFAULT-DENY",
      "PODS",
      "ACCEPTED",
      "PROGRAMMED",
      "REASON",
      "AGE",
    ]);
    expect(row.split(/\s{2,}/).slice(0, -1)).toEqual([
      "shown",
      "Admin",
      "7",
      "Enforce",
      "true",
      "42",
      "True",
      "11/12 nodes",
      "UnknownField",
    ]);
    expect((await kubectl("get", "sallyport", "-A")).stdout).toContain("clusteregresspolicy.sallyport.dev/shown");
    // What people write is not the status' business, and the other way round.
    const refused = await api.send(
      "PATCH",
      `${path}/shown/status`,
      { spec: { priority: 8 } },
      "application/merge-patch+json",
    );
    expect((refused.body["spec"] as { priority: number }).priority).toBe(7);
  });
});

function examples(): { name: string; text: string }[] {
  const folders = ["examples/two-apps/policies"];
  const files = folders.flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`));
  return [
    ...[...files, "examples/two-apps/tests/agent-config.yaml"].map((name) => ({
      name,
      text: readFileSync(join(root, name), "utf8"),
    })),
    ...pagesOf(root).flatMap((page) =>
      shownDocuments(readFileSync(join(root, page), "utf8")).map((text, index) => ({
        name: `${page}, document ${index + 1}`,
        text,
      })),
    ),
  ];
}
