import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { run } from "../../src/lab/process.ts";
import { buildPrograms } from "./builds.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
import { MANIFESTS, renderManifests } from "./manifests.ts";
import { NODE } from "./network.ts";
import { podObject } from "./pods.ts";
import { fetched, NAMESPACE, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

/** What becomes of a node: an upgrade under load, and the end. Namespaces as subjects besides, which need pods without labels, as these are. */
const NAMESPACES = ["shop", "stock", "elsewhere"];
const GITHUB = "https://api.github.com/";
const WEATHER = "https://api.weather.gov/";
const SOON = { timeout: 20_000, interval: 300 };
const examples = fileURLToPath(new URL("../../examples/namespaces/policies/", import.meta.url));

let cluster: Cluster;
let sallyport: Sallyport;

const get = (pod: string, url: string, ...flags: string[]) => fetched(cluster, pod, url, ...flags);
const kubectl = (...words: string[]) => cluster.kubectl(words);

async function onNode(...argv: string[]): Promise<string> {
  return (await run(onMachine(cluster.machine, argv))).stdout.trim();
}

/** New connections one after the other, a line each, and one download that takes longer than everything here. */
const LOADING = `
(curl -sN -o /dev/null ${GITHUB}slow; echo "download ended: $?") &
while true; do curl -s -m 20 -o /dev/null -w "%{http_code} %{time_total}\\n" ${GITHUB} || echo "failed: $?"; done`;

beforeAll(async () => {
  ({ cluster, sallyport } = await sharedRelease());
  await cluster.apply(
    NAMESPACES.map((name) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: name === "elsewhere" ? {} : { egress: "partners" } },
    })),
  );
  const policies = ["10-partners.yaml", "20-team.yaml"].flatMap((file) =>
    parseAllDocuments(readFileSync(examples + file, "utf8")).map((document) => document.toJS() as object),
  );
  await cluster.apply(policies);
  await cluster.apply([
    podObject("web", { namespace: "shop" }),
    podObject("count", { namespace: "stock" }),
    podObject("any", { namespace: "elsewhere" }),
    podObject("loading", { namespace: "stock", command: ["sh", "-c", LOADING] }),
  ]);
  for (const name of NAMESPACES)
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "--namespace", name, "--timeout=110s"], {
      timeoutMs: 120_000,
    });
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "ceg", "partners", "--ignore-not-found");
  for (const name of NAMESPACES) await kubectl("delete", "pod", "--all", "--namespace", name);
  await kubectl("delete", "namespace", ...NAMESPACES, "--ignore-not-found", "--wait=false");
}, 60_000);

describe("whole namespaces, without a label on any pod", () => {
  const rows: readonly [pod: string, url: string, answer: string][] = [
    ["shop/web", GITHUB, "200"],
    ["stock/count", GITHUB, "200"],
    ["shop/web", WEATHER, "200"],
    ["stock/count", WEATHER, "none"],
    ["shop/web", `https://${OUTSIDE.evil.ipv4}/`, "none"],
    ["elsewhere/any", WEATHER, "200"],
  ];
  test.each(rows)("%s %s: %s", async (pod, url, answer) => {
    expect(await get(pod, url)).toBe(answer);
  });

  test("a pod that comes is held from its first packet, one whose namespace loses the label goes free", async () => {
    const trying = `curl -s -m 5 -o /dev/null -w "%{http_code}\\n" --connect-to ::${OUTSIDE.weatherApi.ipv4}: ${WEATHER}`;
    await cluster.apply([podObject("new", { namespace: "stock", command: ["sh", "-c", `${trying}; sleep 600`] })]);
    await expect.poll(() => kubectl("-n", "stock", "logs", "new"), SOON).toBe("000\n");
    await kubectl("label", "namespace", "stock", "egress-");
    await expect.poll(() => get("stock/new", WEATHER), SOON).toBe("200");
    await kubectl("label", "namespace", "stock", "egress=partners");
    await expect.poll(() => get("stock/new", WEATHER), SOON).toBe("none");
  });
});

describe("helm upgrade under load", () => {
  /** Lines of the loading pod since then. */
  const lines = async (since: string): Promise<string[]> =>
    (await kubectl("-n", "stock", "logs", "loading", `--since-time=${since}`)).trim().split("\n");

  test("breaks no allowed flow, and makes no new one fail", async () => {
    const before = new Date().toISOString();
    await expect.poll(async () => (await lines(before)).length, SOON).toBeGreaterThan(5);
    const calm = longest(await lines(before));
    const [old = ""] = await sallyport.pods("agent");
    const began = new Date().toISOString();
    await sallyport.upgrade("agent.podAnnotations.revision=two");
    await expect.poll(() => sallyport.pods("agent"), { timeout: 60_000, interval: 500 }).not.toContain(old);
    const seen = await lines(began);
    const [agent = ""] = await sallyport.pods("agent");
    // It did take over, and did not start where nobody was any more.
    expect(await kubectl("-n", NAMESPACE, "logs", agent)).toContain('"event":"taken-over"');
    expect(seen.filter((line) => !line.startsWith("200 "))).toEqual([]);
    // The one that leaves does not say in the node's status that nothing is enforced.
    const { status } = parse(await kubectl("get", "ens", NODE.name, "-o", "yaml"));
    expect(status).toMatchObject({ ready: true, conditions: [{ reason: "Enforcing" }] });
    console.log(
      `helm upgrade: ${seen.length} new connections, none failed; the longest took ${longest(seen)} s, before it ${calm} s`,
    );
  });

  const longest = (some: readonly string[]): number => Math.max(...some.map((line) => Number(line.split(" ")[1] ?? 0)));
});

describe("sallyport bypass", () => {
  test("lets a namespace of the node pass for a while, and says so in the node's status", async () => {
    const bypass = (...words: string[]) => sallyport.command("bypass", ...words);
    expect(await get("stock/count", WEATHER)).toBe("none");
    const { stdout, stderr } = await bypass("--namespace", "stock", "--for", "5m", "--reason", "a test");
    expect(stderr + stdout).toContain("in force: the agent decides so");
    expect(await get("stock/count", WEATHER)).toBe("200");
    expect(await get("shop/web", `https://${OUTSIDE.evil.ipv4}/`)).toBe("none");
    const status = async () => parse(await kubectl("get", "ens", NODE.name, "-o", "yaml")).status;
    await expect
      .poll(async () => (await status()).bypass, SOON)
      .toMatchObject([{ scope: "Namespace", namespace: "stock", reason: "a test" }]);
    expect((await status()).conditions).toMatchObject([{ type: "Ready" }, { type: "Bypassed", status: "True" }]);
    expect((await bypass("--end")).stdout).toContain("ended");
    expect(await get("stock/count", WEATHER)).toBe("none");
    await expect.poll(async () => (await status()).bypass ?? [], SOON).toEqual([]);
  });
});

describe("the taint of a new node", () => {
  const taint = "sallyport.dev/agent-not-ready";
  const taints = (node: string) => kubectl("get", "node", node, "-o", "jsonpath={.spec.taints[*].key}");

  test("goes when the node's agent enforces", async () => {
    await kubectl("taint", "node", NODE.name, `${taint}=:NoSchedule`);
    await expect.poll(() => taints(NODE.name), SOON).not.toContain(taint);
  });

  test("stays while the agent has said nothing of this boot", async () => {
    const spec = { taints: [{ key: taint, effect: "NoSchedule" }] };
    await cluster.apply([{ apiVersion: "v1", kind: "Node", metadata: { name: "coming" }, spec }]);
    const boot = (bootID: string) => JSON.stringify({ status: { nodeInfo: { bootID } } });
    const says = (bootID: string) =>
      cluster
        .apply([{ apiVersion: "sallyport.dev/v1alpha1", kind: "EgressNodeStatus", metadata: { name: "coming" } }])
        .then(() =>
          kubectl(
            "patch",
            "ens",
            "coming",
            "--subresource=status",
            "--type=merge",
            "-p",
            JSON.stringify({ status: { ready: true, bootID } }),
          ),
        );
    try {
      await kubectl("patch", "node", "coming", "--subresource=status", "-p", boot("second"));
      await says("first");
      await pause(3_000);
      expect(await taints("coming")).toContain(taint);
      await says("second");
      await expect.poll(() => taints("coming"), SOON).not.toContain(taint);
    } finally {
      await kubectl("delete", "node", "coming");
      await kubectl("delete", "ens", "coming", "--ignore-not-found");
    }
  });

  test("is all that the controller may change of a node", async () => {
    const as = ["--as", `system:serviceaccount:${NAMESPACE}:sallyport-controller`];
    const tries: readonly (readonly string[])[] = [
      ["patch", "node", NODE.name, "--type=merge", "-p", '{"metadata":{"labels":{"mine":"yes"}}}'],
      ["patch", "node", NODE.name, "--type=merge", "-p", '{"spec":{"unschedulable":true}}'],
      ["patch", "node", NODE.name, "--type=merge", "-p", '{"spec":{"taints":[{"key":"mine","effect":"NoExecute"}]}}'],
      [
        "patch",
        "node",
        NODE.name,
        "--type=merge",
        "-p",
        `{"spec":{"taints":[{"key":"${taint}","effect":"NoExecute"}]}}`,
      ],
      ["delete", "node", NODE.name],
    ];
    for (const words of tries) {
      const { status, stderr } = await cluster.tryKubectl([...words, ...as]);
      expect({ words, status, stderr }).toMatchObject({ status: 1, stderr: expect.stringMatching(/forbidden/i) });
    }
    await kubectl("taint", "node", NODE.name, "someone.else/keeps=:PreferNoSchedule");
    const { stderr } = await cluster.tryKubectl(["taint", "node", NODE.name, "someone.else/keeps-", ...as]);
    expect(stderr).toMatch(/forbidden/i);
    await kubectl("taint", "node", NODE.name, "someone.else/keeps-");
  });
});

describe("plain manifests", () => {
  test("are what the chart makes, and a cluster takes them", async () => {
    const { helm } = await buildPrograms(["helm"]);
    const path = fileURLToPath(new URL(`../../${MANIFESTS}`, import.meta.url));
    expect(readFileSync(path, "utf8"), "run `make manifests`").toBe(await renderManifests(helm));
    const words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", path];
    expect(await kubectl(...words)).toContain("daemonset.apps/sallyport-agent serverside-applied");
  });
});

describe("helm uninstall", () => {
  test("leaves nothing of it in the kernel, and nothing is denied any more", async () => {
    expect(await get("stock/count", `http://${OUTSIDE.evil.ipv4}/`)).toBe("none");
    expect(await onNode("nft", "list", "tables")).toContain("table inet sallyport");
    expect((await marks()).some((mark) => (mark & 0x3f) !== 0)).toBe(true);
    await sallyport.uninstall();
    // Garbage collection, the kubelet and the agent come one after the other.
    const gone = { timeout: 60_000, interval: 500 };
    await expect.poll(() => onNode("nft", "list", "tables"), gone).not.toContain("sallyport");
    await expect.poll(() => onNode("iptables-nft-save"), gone).not.toContain("SALLYPORT");
    await expect.poll(() => onNode("ip6tables-nft-save"), gone).not.toContain("SALLYPORT");
    await expect.poll(() => onNode("ls", "-A", "/run/sallyport"), SOON).toBe("");
    expect((await marks()).filter((mark) => (mark & 0x3f) !== 0)).toEqual([]);
    expect(await get("stock/count", `http://${OUTSIDE.evil.ipv4}/`)).toBe("200");
    expect(await get("stock/count", WEATHER)).toBe("200");
  });

  test("leaves policies, and a node that says it enforces nothing; no account", async () => {
    expect(await kubectl("get", "ceg", "partners", "-o", "name")).toContain("partners");
    const { status } = parse(await kubectl("get", "ens", NODE.name, "-o", "yaml"));
    expect(status).toMatchObject({ ready: false, conditions: [{ type: "Ready", reason: "Uninstalling" }] });
    const kinds =
      "serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,daemonsets,jobs,secrets,services,validatingwebhookconfigurations";
    const left = await kubectl("get", kinds, "--all-namespaces", "-o", "name");
    expect(left.split("\n").filter((name) => name.includes("sallyport"))).toEqual([]);
  });

  test("what was said then holds for no later release", async () => {
    await sallyport.upgrade();
    await expect.poll(() => get("stock/count", WEATHER), SOON).toBe("none");
    const [agent = ""] = await sallyport.pods("agent");
    await kubectl("-n", NAMESPACE, "delete", "pod", agent);
    expect(await onNode("nft", "list", "tables")).toContain("table inet sallyport");
    await sallyport.rolledOut();
    expect(await get("stock/count", WEATHER)).toBe("none");
  });

  /** Of every flow that the node knows. */
  async function marks(): Promise<number[]> {
    const text = await onNode("cat", "/proc/net/nf_conntrack");
    return [...text.matchAll(/ mark=(\d+)/g)].map(([, mark = ""]) => Number(mark));
  }
});
