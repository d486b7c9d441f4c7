import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Cluster } from "./cluster.ts";
import { NAMESPACE, type Sallyport } from "./sallyport.ts";
import { sharedRelease } from "./shared-release.ts";

const SECRET = "sallyport-webhook";

let cluster: Cluster;
let sallyport: Sallyport;
/** The release is as the others have it. */
let restored = false;

const kubectl = (...words: string[]) => cluster.kubectl(words);

/** What kubectl says on stderr, and whether it was content. */
async function applied(...objects: readonly object[]): Promise<{ readonly ok: boolean; readonly said: string }> {
  const list = { apiVersion: "v1", kind: "List", items: objects };
  const { status, stderr } = await cluster.tryKubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], {
    input: JSON.stringify(list),
  });
  return { ok: status === 0, said: stderr };
}

const policy = (name: string, rules: readonly object[], spec: object = {}): object => ({
  apiVersion: "sallyport.dev/v1alpha1",
  kind: "EgressPolicy",
  metadata: { name, namespace: "team" },
  spec: { mode: "Audit", subject: { podSelector: { matchLabels: { app: "none" } } }, rules, ...spec },
});
const allow = (name: string, to: object) => ({ name, action: "Allow", to: [to] });
const ports = [{ protocol: "TCP", port: 443 }];
const EXCEPT_OUTSIDE = { cidrs: ["192.0.2.0/24"], except: ["198.51.100.0/24"] };

/** What of the Secret is public: the CAs that are trusted, and what is served. */
async function certificates(): Promise<{ readonly trusted: string; readonly served: string }> {
  const path = "jsonpath={.data['ca\\.crt']} {.data['tls\\.crt']}";
  const [trusted = "", served = ""] = (await kubectl("-n", NAMESPACE, "get", "secret", SECRET, "-o", path)).split(" ");
  return { trusted, served };
}

/** What each webhook of the configuration trusts. */
async function bundles(): Promise<string[]> {
  const path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
  return (await kubectl("get", "validatingwebhookconfiguration", "sallyport", "-o", path)).split(" ");
}

beforeAll(async () => {
  ({ cluster, sallyport } = await sharedRelease());
  // With `Fail` nothing that goes wrong stays unseen.
  await sallyport.upgrade(
    "controller.webhook.failurePolicy=Fail",
    "controller.webhook.certificateLife=2m",
    "config.failMode=Closed",
  );
  await kubectl("-n", NAMESPACE, "rollout", "status", "deployment/sallyport-controller", "--timeout=60s");
  await kubectl("create", "namespace", "team");
}, 300_000);

afterAll(async () => {
  if (!restored) await sallyport.upgrade();
  await kubectl("delete", "ceg", "open", "--ignore-not-found");
  await kubectl("delete", "dg", "later", "--ignore-not-found");
  await kubectl("delete", "namespace", "team", "--ignore-not-found");
}, 120_000);

describe("what is written", () => {
  test("is refused in validate's own words, when only they say what is wrong with it", async () => {
    const { ok, said } = await applied(policy("bad", [allow("partner", EXCEPT_OUTSIDE)]));
    expect(ok).toBe(false);
    expect(said).toContain('admission webhook "policies.sallyport.dev" denied the request');
    expect(said).toMatch(/spec\.rules\[0\]\.to\[0\]\.except\[0\]: `198\.51\.100\.0\/24` .*: /);
    expect((await cluster.tryKubectl(["-n", "team", "get", "eg", "bad"])).status).not.toBe(0);
  });

  test("is warned about by kubectl", async () => {
    const open = {
      apiVersion: "sallyport.dev/v1alpha1",
      kind: "ClusterEgressPolicy",
      metadata: { name: "open" },
      spec: {
        tier: "Admin",
        mode: "Audit",
        defaultDeny: true,
        subject: { podSelector: { matchLabels: { app: "none" } } },
        rules: [
          allow("all", { domains: ["*.example"], ports }),
          allow("one", { domains: ["a.example"], ports }),
          allow("listed", { group: "later", ports }),
        ],
      },
    };
    const { ok, said } = await applied(open);
    expect(ok).toBe(true);
    expect(said).toContain("Warning: spec.subject: `podSelector` alone says who may use rule `all`");
    expect(said).toContain("Warning: spec.rules[1].name: rule `one` never decides: `all` above it covers all of it");
    expect(said).toContain("Warning: spec.rules[2].to[0].group: there is no group `later`");
    const group = { apiVersion: "sallyport.dev/v1alpha1", kind: "DestinationGroup", metadata: { name: "later" } };
    await applied({ ...group, spec: { domains: ["b.example"] } });
    await expect.poll(async () => (await applied(open)).said, { timeout: 5_000 }).not.toContain("there is no group");
  });

  test("is no other's: pods, and what the controller says itself, pass", async () => {
    expect((await applied(policy("good", [allow("a", { domains: ["a.example"], ports })]))).ok).toBe(true);
    const accepted = () => kubectl("-n", "team", "get", "eg", "good", "-o", "jsonpath={.status.conditions[0].status}");
    await expect.poll(accepted, { timeout: 10_000 }).toBe("True");
    await kubectl("-n", "team", "create", "configmap", "any", "--from-literal=a=b");
  });
});

describe("a rule that another policy makes useless", () => {
  test("is said in the status of its policy, for as long as it is", async () => {
    const shadowed = () =>
      kubectl("-n", "team", "get", "eg", "late", "-o", 'jsonpath={.status.conditions[?(@.type=="Shadowed")].message}');
    const rules = [allow("a", { domains: ["late.test"], ports })];
    await applied(
      policy("early", [{ name: "none", action: "Deny" }], { priority: 1 }),
      policy("late", rules, { priority: 2 }),
    );
    await expect
      .poll(shadowed, { timeout: 40_000, interval: 500 })
      .toBe("rule `a` never decides: rule `none` of `EgressPolicy/team/early`, which comes before, denies all of it");
    await kubectl("-n", "team", "delete", "eg", "early");
    await expect.poll(shadowed, { timeout: 40_000, interval: 500 }).toBe("");
  });
});

describe("while policies are written without a pause", () => {
  let writing = true;
  let written = 0;
  const failures: string[] = [];
  let stream: Promise<void>;

  beforeAll(() => {
    stream = (async () => {
      while (writing) {
        const spec = { priority: written % 1000 };
        const { ok, said } = await applied(policy("stream", [allow("a", { domains: ["a.example"], ports })], spec));
        if (ok) written++;
        else failures.push(said);
        await pause(20);
      }
    })();
  });

  afterAll(async () => {
    writing = false;
    await stream;
  });

  test("the certificate is replaced, and none fails", async () => {
    const before = await certificates();
    // Asks for another one, as somebody does whose key is known to others.
    await kubectl("-n", NAMESPACE, "patch", "secret", SECRET, "--type=merge", "-p", '{"data":null}');
    const replaced = async () => {
      const { trusted, served } = await certificates();
      return served !== before.served && served !== "" && trusted !== "" && !overlaps(trusted, before.trusted);
    };
    await expect.poll(replaced, { timeout: 60_000, interval: 500 }).toBe(true);
    const { trusted } = await certificates();
    await expect.poll(bundles, { timeout: 10_000 }).toEqual([trusted, trusted]);
    expect(failures).toEqual([]);
    expect(written).toBeGreaterThan(10);
  });

  test("the other replica goes on when the one that leads is killed", async () => {
    const path = "jsonpath={.spec.holderIdentity}";
    const leader = await kubectl("-n", NAMESPACE, "get", "lease", "sallyport-controller", "-o", path);
    const others = (await sallyport.pods("controller")).filter((pod) => pod !== leader);
    expect(others).toHaveLength(1);
    await kubectl("-n", NAMESPACE, "delete", "pod", leader, "--grace-period=0", "--force");
    // Whoever asked the killed one while the news spread may have failed; after that nobody does.
    const quiet = async (): Promise<boolean> => {
      failures.length = 0;
      const from = written;
      await pause(1_000);
      return failures.length === 0 && written > from;
    };
    await expect.poll(quiet, { timeout: 60_000 }).toBe(true);
    const before = written;
    await expect.poll(() => written, { timeout: 60_000 }).toBeGreaterThan(before + 10);
    expect(failures).toEqual([]);
    expect((await applied(policy("bad", [allow("partner", EXCEPT_OUTSIDE)]))).said).toContain("denied the request");
  });
});

/** Whether some CA is in both lists. */
function overlaps(one: string, other: string): boolean {
  const list = (base64: string) =>
    Buffer.from(base64, "base64")
      .toString()
      .split(/(?<=END CERTIFICATE-----)\s*/);
  const known = new Set(list(other).filter((ca) => ca !== ""));
  return list(one).some((ca) => known.has(ca));
}

describe("the release", () => {
  test("keeps its certificate when it is upgraded", async () => {
    await sallyport.upgrade();
    restored = true;
    expect((await certificates()).served).not.toBe("");
    expect((await bundles()).every((bundle) => bundle !== "")).toBe(true);
  });

  test("lets everything be written by default while no controller answers, and says later what is wrong", async () => {
    await kubectl("-n", NAMESPACE, "scale", "deployment/sallyport-controller", "--replicas=0");
    const gone = ["pod", "-l", "app.kubernetes.io/component=controller", "--timeout=30s"];
    await kubectl("-n", NAMESPACE, "wait", "--for=delete", ...gone);
    expect((await applied(policy("unseen", [allow("partner", EXCEPT_OUTSIDE)]))).ok).toBe(true);
    await kubectl("-n", NAMESPACE, "scale", "deployment/sallyport-controller", "--replicas=2");
    const path = 'jsonpath={.status.conditions[?(@.type=="Accepted")].status}';
    const accepted = () => kubectl("-n", "team", "get", "eg", "unseen", "-o", path);
    await expect.poll(accepted, { timeout: 40_000, interval: 500 }).toBe("False");
  });
});
