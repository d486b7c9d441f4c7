import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { type AgentLab, sleep } from "../support/agent-lab.ts";
import { apiServerBuilt } from "../support/api-server-built.ts";
import { clusterPolicy, KubeLab } from "../support/kube-lab.ts";

const APP = "app-ns/app";
const OTHER = "app-ns/other";

const policy = (port: number, more: object = {}): object =>
  clusterPolicy("app", {
    tier: "Admin",
    priority: 1,
    defaultDeny: true,
    subject: { podSelector: { matchLabels: { role: "app" } } },
    rules: [
      {
        name: "by-name",
        action: "Allow",
        to: [{ domains: ["*.github.com"], ports: [{ protocol: "TCP", port: 443 }] }],
      },
      { name: "by-address", action: "Allow", to: [{ cidrs: ["203.0.113.10/32"], ports: [{ protocol: "TCP", port }] }] },
    ],
    ...more,
  });

let kube: KubeLab;
let world: AgentLab;

const PARTNER = `https://${OUTSIDE.partner.ipv4}:8443/`;
const partner = (pod = APP): Promise<string> => world.get(pod, PARTNER, "-k", "-m", "3");
const label = (pod: string, ...words: string[]): Promise<string> => {
  const [namespace = "", name = ""] = pod.split("/");
  return kube.api.must(["label", "pod", name, "-n", namespace, "--overwrite", ...words]);
};

describe.skipIf(!apiServerBuilt())("an agent that watches a real API server", () => {
  beforeAll(async () => {
    kube = await KubeLab.up(`agk${process.pid % 10_000}x`, [
      { namespace: "app-ns", name: "app", labels: { role: "app" } },
      { namespace: "app-ns", name: "other" },
    ]);
    world = kube.world;
    await kube.api.apply(policy(8443));
    await kube.start();
  });

  afterAll(() => kube?.down());

  test("finds resolvers and ranges by itself, and enforces", async () => {
    expect(await partner()).toBe("200");
    expect(await world.get(APP, "https://api.github.com/")).toBe("200");
    expect(await world.get(APP, "https://api.weather.gov/", "-m", "3")).toMatch(/^curl/);
    expect(await partner(OTHER)).toBe("200");
  });

  test("a label that is set or taken away with kubectl is enforced", async () => {
    const evil = `https://${OUTSIDE.evil.ipv4}:443/`;
    expect(await world.get(OTHER, evil, "-k", "-m", "3")).toBe("200");
    await world.applied(() => label(OTHER, "role=app"));
    expect(await world.get(OTHER, evil, "-k", "-m", "3")).toMatch(/^curl/);
    await world.applied(() => label(OTHER, "role-"));
    expect(await world.get(OTHER, evil, "-k", "-m", "3")).toBe("200");
  });

  test("a policy changed, made and deleted is enforced", async () => {
    await world.applied(() => kube.api.apply(policy(8444)));
    expect(await partner()).toBe("curl 7");
    await world.applied(() => kube.api.apply(policy(8443)));
    expect(await partner()).toBe("200");
    const closed = clusterPolicy("closed", {
      tier: "Admin",
      priority: 0,
      defaultDeny: true,
      subject: { podSelector: { matchLabels: { role: "app" } } },
      rules: [{ name: "all", action: "Deny" }],
    });
    await world.applied(() => kube.api.apply(closed));
    expect(await partner()).toBe("curl 7");
    await world.applied(() => kube.api.must(["delete", "clusteregresspolicy", "closed"]));
    expect(await partner()).toBe("200");
  });

  test("a policy of a namespace is enforced when the namespace is relabelled", async () => {
    const spec = {
      tier: "Admin",
      priority: 2,
      defaultDeny: true,
      subject: { namespaceSelector: { matchLabels: { locked: "yes" } } },
    };
    await world.applied(() => kube.api.apply(clusterPolicy("locked", spec)));
    expect(await partner(OTHER)).toBe("200");
    await world.applied(() => kube.api.must(["label", "namespace", "app-ns", "locked=yes"]));
    expect(await partner(OTHER)).toBe("curl 7");
    await world.applied(() => kube.api.must(["label", "namespace", "app-ns", "locked-"]));
    expect(await partner(OTHER)).toBe("200");
    await world.applied(() => kube.api.must(["delete", "clusteregresspolicy", "locked"]));
  });

  test("an unknown pod is held, then decided when its object arrives", async () => {
    const { lab } = world;
    const pod = await lab.addPod(
      { namespace: "app-ns", name: "fresh", labels: { role: "app" }, node: 1 },
      { listed: false },
    );
    const answer = partner("app-ns/fresh");
    await kube.register(pod);
    expect(await answer).toBe("200");
    const record = await world.until("record", () =>
      world.records().find(({ workload }) => workload?.name === "fresh"),
    );
    expect(record.action).toBe("Allow");
    const nobody = await lab.addPod({ namespace: "app-ns", name: "nobody", node: 1 }, { listed: false });
    expect(await partner("app-ns/nobody")).toBe("curl 7");
    // Its address is another's now.
    await kube.unregister(pod);
    await world.applied(() => kube.register({ ...nobody, labels: { role: "app" } }));
    expect(await partner("app-ns/nobody")).toBe("200");
  });

  test("its own status says what it enforces; it asks for nothing while nothing happens", async () => {
    const { policies, ...rest } = await world.until("status of the node", async () => {
      const status = await nodeStatus();
      return status?.policies?.some(({ selectedPods }) => selectedPods === 2) ? status : null;
    });
    expect(policies).toEqual([
      {
        kind: "ClusterEgressPolicy",
        name: "app",
        uid: expect.any(String),
        generation: expect.any(Number),
        programmed: true,
        selectedPods: 2,
      },
    ]);
    expect(rest).toMatchObject({ ready: true, agentVersion: expect.any(String), notEnforcedPods: 0 });
    // What came before may have left a word to say, a little later.
    await world.until(
      "3 s without a request",
      async () => {
        const before = (await status()).cluster["requests"];
        await sleep(3_000);
        return (await status()).cluster["requests"] === before;
      },
      30_000,
    );
  });

  test("the API server restarts: watches go on, and status says so", async () => {
    await kube.api.stop();
    expect(await partner()).toBe("200");
    await kube.api.serve();
    await followed();
    await kube.api.apply(policy(8444));
    await eventually(async () => expect(await partner()).toBe("curl 7"));
    await world.applied(() => kube.api.apply(policy(8443)));
    expect(await followed()).toMatchObject({ rememberedFrom: null, refused: [] });
  }, 240_000);

  test("the API server is away while the agent restarts: what was known is enforced", async () => {
    await sleep(1_500); // What has changed is written down at most every second.
    await kube.api.stop();
    await world.agent?.stop();
    const agent = await kube.start();
    const line = await agent.event("cluster-remembered");
    expect(line["since"]).toMatch(/^\d{4}-/);
    expect(await partner()).toBe("200");
    expect(await world.get(APP, "https://api.github.com/")).toBe("200");
    expect(await world.get(APP, `https://${OUTSIDE.evil.ipv4}:443/`, "-k", "-m", "3")).toMatch(/^curl/);
    expect((await status()).cluster).toMatchObject({ state: "away" });
    await kube.api.serve();
    await agent.event("cluster-known", BACK_MS);
    await followed();
    await kube.api.apply(policy(8444));
    await eventually(async () => expect(await partner()).toBe("curl 7"));
    await world.applied(() => kube.api.apply(policy(8443)));
    expect(await followed()).toMatchObject({ rememberedFrom: null });
  }, 240_000);

  test("a field of a newer version opens nothing, and is told", async () => {
    await followed();
    const crd = "clusteregresspolicies.sallyport.dev";
    const rule = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rules/items";
    const path = `${rule}/properties/to/items/properties/sni`;
    const change = { op: "add", path, value: { type: "string", maxLength: 253 } };
    await kube.api.must(["patch", "crd", crd, "--type=json", "-p", JSON.stringify([change])]);
    const { spec } = policy(8443) as { spec: { rules: { to: object[] }[] } };
    const [byName, byAddress] = spec.rules;
    const newer = { ...byAddress, to: byAddress!.to.map((entry) => ({ ...entry, sni: "partner.example" })) };
    // A definition is served, and watched anew, a moment after it is written; until then the field is refused.
    await eventually(() => kube.api.apply(policy(8443, { rules: [byName, newer] })));
    await eventually(async () => expect(await partner()).toBe("curl 7"));
    expect(await world.get(APP, "https://api.github.com/")).toBe("200");
    const { cluster } = await status();
    expect(cluster["refused"]).toMatchObject([{ reason: "UnknownField", instead: "strictest" }]);
    await kube.api.apply(policy(8443));
    await eventually(async () => expect(await partner()).toBe("200"));
  });

  test("what an agent cannot read changes nothing; new, it denies; both are said", async () => {
    await kube.acceptAnything("clusteregresspolicies");
    await world.applied(() => kube.api.apply(policy(8443, { rules: 7 })));
    await eventually(async () => {
      expect((await status()).cluster["refused"]).toMatchObject([{ key: "app", instead: "last-good" }]);
    });
    expect(await partner()).toBe("200");
    const fresh = {
      tier: "Admin",
      subject: { podSelector: { matchLabels: { role: "new" } } },
      defaultDeny: true,
      rules: 7,
    };
    await world.applied(() => kube.api.apply(clusterPolicy("fresh", fresh)));
    await world.applied(() => label(OTHER, "role=new"));
    expect(await partner(OTHER)).toBe("curl 7");
    await world.until(
      "status of the node",
      async () => {
        const all = (await nodeStatus())?.policies ?? [];
        const refused = all.filter(({ programmed, reason }) => !programmed && reason === "Invalid");
        return refused.map(({ name }) => name).join() === "app,fresh";
      },
      20_000,
    );
    // A restart does not make the last good version be forgotten.
    await sleep(1_500);
    await world.agent?.kill();
    await kube.start();
    expect(await partner()).toBe("200");
    // An agent that has just started applies what comes after its start, too: that is not this change.
    await kube.api.apply(policy(8444));
    await eventually(async () => expect(await partner()).toBe("curl 7"));
    expect((await status()).cluster["refused"]).toMatchObject([{ key: "fresh", instead: "strictest" }]);
  });
});

async function eventually<T>(what: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** Tries of one resource are up to half a minute apart, and so are those of the connection that all wait for. */
const BACK_MS = 90_000;

/** Every resource is watched; those that met a server which was still starting come a moment later. */
function followed(): Promise<Record<string, unknown>> {
  return world.until(
    "watches",
    async () => {
      const { cluster } = await status();
      return cluster["state"] === "watching" ? cluster : null;
    },
    BACK_MS,
  );
}

interface NodeStatus {
  readonly policies?: readonly {
    readonly name: string;
    readonly programmed: boolean;
    readonly reason?: string;
    readonly selectedPods: number;
  }[];
}

async function nodeStatus(): Promise<NodeStatus | null> {
  const { status, stdout } = await kube.api.kubectl(["get", "egressnodestatus", "node1", "-o", "json"]);
  return status === 0 ? (JSON.parse(stdout).status ?? null) : null;
}

async function status(): Promise<{ readonly cluster: Record<string, unknown> }> {
  const { lab } = world;
  const { stdout } = await lab.exec("node1", ["curl", "-s", "http://127.0.0.1:9464/status"]);
  return JSON.parse(stdout);
}
