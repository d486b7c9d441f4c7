import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { run } from "../../src/lab/process.ts";
import type { Cluster } from "./cluster.ts";
import { onMachine } from "./machine.ts";
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
    await kubectl("wait", "--for=condition=Ready", "pod", "--all", "--namespace", name, "--timeout=60s");
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
    await expect.poll(async () => (await lines(before)).length, SOON).toBeGreaterThan(20);
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

describe("helm uninstall", () => {
  test("leaves nothing of it in the kernel, and nothing is denied any more", async () => {
    expect(await get("stock/count", `http://${OUTSIDE.evil.ipv4}/`)).toBe("none");
    expect(await onNode("nft", "list", "tables")).toContain("table inet sallyport");
    expect((await marks()).some((mark) => (mark & 0x3f) !== 0)).toBe(true);
    await sallyport.uninstall();
    await expect.poll(() => onNode("nft", "list", "tables"), SOON).not.toContain("sallyport");
    expect(await onNode("iptables-nft-save")).not.toContain("SALLYPORT");
    expect(await onNode("ip6tables-nft-save")).not.toContain("SALLYPORT");
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
