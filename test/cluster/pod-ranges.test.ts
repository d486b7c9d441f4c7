import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Cluster } from "./cluster.ts";
import { podObject } from "./pods.ts";
import { fetched, NAMESPACE } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SPACE = "ranged";
const API = { apiVersion: "sallyport.dev/v1alpha1" };
const SOON = { timeout: 30_000, interval: 500 };
const URL = `http://${OUTSIDE.evil.ipv4}/`;

let cluster: Cluster;
let told: string;
/** Settings that somebody else made; the chart keeps none without `config`. */
let settled: boolean;

const kubectl = (...words: string[]) => cluster.kubectl(words);
const merge = (kind: string, name: string, patch: object, ...where: string[]) =>
  kubectl(...where, "patch", kind, name, "--type=merge", "-p", JSON.stringify(patch));
const inside = (podCIDRs: string) => merge("configmap", "sallyport-ranges", { data: { podCIDRs } }, "-n", NAMESPACE);
const ranges = (path: string) => kubectl("-n", NAMESPACE, "get", "configmap", "sallyport-ranges", "-o", path);
const condition = () => kubectl("get", "ens", "-o", 'jsonpath={..conditions[?(@.type=="PodRangesInside")].message}');
const reached = () => fetched(cluster, `${SPACE}/own`, URL);

beforeAll(async () => {
  ({ cluster } = await sharedRelease());
  told = await ranges("jsonpath={.data.podCIDRs}");
  settled = (await kubectl("get", "agc", "default", "--ignore-not-found", "-o", "name")) !== "";
  if (!settled) await cluster.apply([{ ...API, kind: "AgentConfig", metadata: { name: "default" }, spec: {} }]);
  await cluster.apply([
    { apiVersion: "v1", kind: "Namespace", metadata: { name: SPACE } },
    {
      ...API,
      kind: "EgressPolicy",
      metadata: { name: "closed", namespace: SPACE },
      spec: { subject: {}, rules: [] },
    },
    podObject("own", { namespace: SPACE }),
  ]);
  await kubectl("-n", SPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
}, 300_000);

afterAll(async () => {
  if (settled) await merge("agc", "default", { spec: { publicPodCIDRs: null } });
  else await kubectl("delete", "agc", "default", "--ignore-not-found");
  await inside(told);
  await kubectl("delete", "namespace", SPACE, "--wait=false");
}, 60_000);

describe("ranges that Nodes say are their pods'", () => {
  test("are told by the controller, and how many Nodes there are", async () => {
    expect(told).not.toBe("");
    expect(await ranges("jsonpath={.data.nodes}")).toBe("1");
  });

  test("do not make public addresses inside, and the node says so", async () => {
    expect(await reached()).toBe("none");
    await inside(`${told}\n${OUTSIDE.evil.ipv4}/32`);
    await expect.poll(condition, SOON).toContain(`${OUTSIDE.evil.ipv4}/32 are their pods'`);
    expect(await reached()).toBe("none");
  });

  test("do where an administrator lists them", async () => {
    await merge("agc", "default", { spec: { publicPodCIDRs: [`${OUTSIDE.evil.ipv4}/31`] } });
    await expect.poll(reached, SOON).toBe("200");
    await expect.poll(condition, SOON).toBe("");
    await merge("agc", "default", { spec: { publicPodCIDRs: [] } });
    await expect.poll(reached, SOON).toBe("none");
  });
});
