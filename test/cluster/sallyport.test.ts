import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import type { Cluster } from "./cluster.ts";
import { podObject } from "./pods.ts";
import { fetched, NAMESPACE, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const NAMESPACES = ["app1-ns", "app2-ns", "team"];
const APP1 = "app1-ns/app1";
const APP2 = "app2-ns/app2";
const FREE = "app1-ns/free";
const SOON = { timeout: 10_000, interval: 200 };
const examples = fileURLToPath(new URL("../../examples/two-apps/policies/", import.meta.url));

let cluster: Cluster;
let lab: Lab;
let sallyport: Sallyport;

const get = (pod: string, url: string, ...flags: string[]) => fetched(cluster, pod, url, ...flags);
const kubectl = (...words: string[]) => cluster.kubectl(words);
const namespace = (name: string, labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});

/** The message of a condition of an object's status. */
async function condition(object: string, type: string): Promise<string> {
  const path = `jsonpath={.status.conditions[?(@.type=="${type}")].status} {.status.conditions[?(@.type=="${type}")].reason}`;
  return (await kubectl("get", ...object.split(" "), "-o", path)).trim();
}

function policy(name: string, spec: object): object {
  return {
    apiVersion: "sallyport.dev/v1alpha1",
    kind: "EgressPolicy",
    metadata: { name, namespace: "team" },
    spec: { priority: 10, subject: {}, ...spec },
  };
}

const allow = (name: string, domain: string) => ({
  name,
  action: "Allow",
  to: [{ domains: [domain], ports: [{ protocol: "TCP", port: 443 }] }],
});

beforeAll(async () => {
  ({ cluster, lab, sallyport } = await sharedRelease());
  await cluster.apply([namespace("app1-ns"), namespace("app2-ns"), namespace("team", { exit: "open" })]);
  const policies = ["10-app1.yaml", "20-app2.yaml"].flatMap((file) =>
    parseAllDocuments(readFileSync(examples + file, "utf8")).map((document) => document.toJS() as object),
  );
  await cluster.apply(policies);
  await cluster.apply([
    podObject("app1", { namespace: "app1-ns", labels: { "egress-ruleset": "app1" } }),
    podObject("free", { namespace: "app1-ns" }),
    podObject("app2", { namespace: "app2-ns", labels: { "egress-ruleset": "app2" } }),
    podObject("web", {
      namespace: "app2-ns",
      labels: { app: "web" },
      command: ["httpd", "-f", "-p", "8080", "-h", "/etc"],
    }),
    podObject("one", { namespace: "team" }),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "app2-ns" },
      spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
    },
    // A door that has no pod behind it, but an address outside.
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "door", namespace: "app1-ns" },
      spec: { ports: [{ port: 80 }] },
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: "door-1", namespace: "app1-ns", labels: { "kubernetes.io/service-name": "door" } },
      addressType: "IPv4",
      endpoints: [{ addresses: [OUTSIDE.evil.ipv4] }],
      ports: [{ port: 80, protocol: "TCP" }],
    },
  ]);
  for (const name of NAMESPACES)
    await kubectl("wait", "--for=condition=Ready", "pod", "--all", "--namespace", name, "--timeout=60s");
}, 300_000);

afterAll(async () => {
  await kubectl("delete", "ceg", "app1", "app2", "closed", "--ignore-not-found");
  // Pods first, to their end: what they still send would be seen in the next file.
  for (const name of NAMESPACES) await kubectl("delete", "pod", "--all", "--namespace", name);
  await kubectl("delete", "namespace", ...NAMESPACES, "--ignore-not-found");
}, 60_000);

describe("two apps and their policies", () => {
  const rows: readonly [pod: string, url: string, answer: string][] = [
    [APP1, "https://api.github.com/", "200"],
    [APP1, "https://api.weather.gov/", "none"],
    [APP1, `http://${OUTSIDE.evil.ipv4}/`, "403"],
    [APP1, `https://${OUTSIDE.evil.ipv4}/`, "none"],
    [APP2, "https://api.weather.gov/", "200"],
    [APP2, "http://api.weather.gov/alerts", "200"],
    [APP2, "http://api.weather.gov/admin", "403"],
    [APP2, "https://api.github.com/", "none"],
    [FREE, "https://api.weather.gov/", "200"],
    [APP1, "http://web.app2-ns/passwd", "200"],
    [FREE, "http://door/", "200"],
    [APP1, "http://door/", "none"],
  ];
  test.each(rows)("%s %s: %s", async (pod, url, answer) => {
    expect(await get(pod, url)).toBe(answer);
  });

  test("both families", async () => {
    expect(await get(APP1, "https://api.github.com/", "-6")).toBe("200");
    expect(await get(APP1, `http://[${OUTSIDE.evil.ipv6}]/`, "-6")).toBe("403");
  });

  test("what was denied has not left", async () => {
    await lab.forgetOutside();
    await get(APP1, `http://${OUTSIDE.evil.ipv4}/`);
    await get(APP1, "https://api.weather.gov/", "--connect-to", `api.weather.gov:443:${OUTSIDE.weatherApi.ipv4}:443`);
    expect((await lab.outsideLog()).map(({ host }) => host).filter((host) => host !== "api.github.com")).toEqual([]);
  });
});

describe("changes that somebody makes with kubectl", () => {
  test("a label on a running pod brings its policies, and takes them with it", async () => {
    await kubectl("label", "pod", "free", "-n", "app1-ns", "egress-ruleset=app1");
    await expect.poll(() => get(FREE, "https://api.weather.gov/"), SOON).toBe("none");
    expect(await get(FREE, "https://api.github.com/")).toBe("200");
    await kubectl("label", "pod", "free", "-n", "app1-ns", "egress-ruleset-");
    await expect.poll(() => get(FREE, "https://api.weather.gov/"), SOON).toBe("200");
  });

  test("a policy is created, changed, and deleted", async () => {
    await cluster.apply([policy("own", { rules: [allow("github", "api.github.com")] })]);
    await expect.poll(() => get("team/one", "https://api.weather.gov/"), SOON).toBe("none");
    expect(await get("team/one", "https://api.github.com/")).toBe("200");
    await cluster.apply([policy("own", { rules: [allow("weather", "api.weather.gov")] })]);
    await expect.poll(() => get("team/one", "https://api.weather.gov/"), SOON).toBe("200");
    expect(await get("team/one", "https://api.github.com/")).toBe("none");
    await kubectl("delete", "egresspolicy", "own", "-n", "team");
    await expect.poll(() => get("team/one", "https://api.github.com/"), SOON).toBe("200");
  });

  test("a policy that the API server refuses says why", async () => {
    const bad = policy("bad", { rules: [allow("spelled", "API.GitHub.com.")] });
    await expect(cluster.apply([bad])).rejects.toThrow(/domain/i);
  });

  test("the labels of a namespace count", async () => {
    const spec = {
      tier: "Admin",
      priority: 5,
      defaultDeny: true,
      subject: { namespaceSelector: { matchLabels: { exit: "closed" } } },
      rules: [],
    };
    await cluster.apply([
      { apiVersion: "sallyport.dev/v1alpha1", kind: "ClusterEgressPolicy", metadata: { name: "closed" }, spec },
    ]);
    expect(await get("team/one", "https://api.github.com/")).toBe("200");
    await kubectl("label", "namespace", "team", "exit=closed", "--overwrite");
    await expect.poll(() => get("team/one", "https://api.github.com/"), SOON).toBe("none");
    await kubectl("label", "namespace", "team", "exit=open", "--overwrite");
    await expect.poll(() => get("team/one", "https://api.github.com/"), SOON).toBe("200");
  });
});

describe("what has become of a policy", () => {
  test("its status counts the nodes that enforce it, and the pods it selects", async () => {
    await expect.poll(() => condition("ceg app1", "Programmed"), SOON).toBe("True Programmed");
    const said = async () => {
      const { selectedPods, conditions } = parse(await kubectl("get", "ceg", "app1", "-o", "yaml")).status;
      return [selectedPods, ...conditions.map((one: { message: string }) => one.message)];
    };
    // An agent says every five seconds at most which pods there are: a label was taken away just before.
    await expect.poll(said, { timeout: 30_000, interval: 500 }).toEqual([1, "can be used", "1/1 nodes"]);
  });

  test("another replica of the controller goes on when the one that leads is killed", async () => {
    const holder = () =>
      kubectl("-n", NAMESPACE, "get", "lease", "sallyport-controller", "-o", "jsonpath={.spec.holderIdentity}");
    const leader = await holder();
    await kubectl("-n", NAMESPACE, "delete", "pod", leader, "--grace-period=0", "--force");
    await expect.poll(holder, { timeout: 40_000, interval: 500 }).not.toBe(leader);
    await cluster.apply([policy("later", { mode: "Audit", rules: [allow("github", "api.github.com")] })]);
    await expect.poll(() => condition("eg later -n team", "Accepted"), SOON).toMatch(/^True/);
    await kubectl("delete", "eg", "later", "-n", "team");
  });
});

describe("while something is away", () => {
  test("an agent that is killed leaves its policies in force, and another takes its place", async () => {
    const [agent = ""] = await sallyport.pods("agent");
    await kubectl("-n", NAMESPACE, "delete", "pod", agent, "--grace-period=0", "--force");
    expect(
      await get(APP1, "https://api.weather.gov/", "--connect-to", `api.weather.gov:443:${OUTSIDE.weatherApi.ipv4}:443`),
    ).toBe("none");
    await sallyport.rolledOut();
    expect(await get(APP1, "https://api.github.com/")).toBe("200");
  });
});
