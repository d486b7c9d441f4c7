import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE, POOL } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const WILD = "app-ns/wild";
const EVIL = OUTSIDE.evil;
const APP_LABELS = { role: "app" };

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: { podSelector: { matchLabels: { role: app } } }
  rules:
    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32, "2001:db8:113::10/128"] }]
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: everything-else }
spec: { tier: Admin, priority: 1000, defaultDeny: true, subject: {}, rules: [] }
`;

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agi${process.pid % 10_000}x`, {
    policies: { "app.yaml": POLICY },
    pods: [
      { namespace: "app-ns", name: "app", labels: APP_LABELS },
      { namespace: "app-ns", name: "wild" },
    ],
  });
  lab = world.lab;
  await world.start();
});

afterAll(() => world?.down());

describe("a pod that nobody has listed yet", () => {
  test("is held until it is listed, then gets what it may have", async () => {
    const spec = { namespace: "app-ns", name: "fresh", labels: APP_LABELS, node: 1 };
    await lab.addPod(spec, { listed: false });
    const begun = performance.now();
    const request = world.get("app-ns/fresh", "https://api.github.com/");
    await sleep(700);
    await lab.setListed("app-ns/fresh", true);
    expect(await request).toBe("200");
    const took = performance.now() - begun;
    // Listed after 0.7 s; nothing waited for the client to send again after a time-out of its own (DNS: 5 s).
    expect(took).toBeLessThan(4_500);
  });

  test("is told no when nobody lists it, and nothing of it gets out", async () => {
    await lab.addPod({ namespace: "app-ns", name: "nobody", labels: APP_LABELS, node: 1 }, { listed: false });
    await lab.forgetOutside();
    const url = `https://${OUTSIDE.partner.ipv4}:8443/`;
    const begun = performance.now();
    expect(await world.get("app-ns/nobody", url, "-k")).toBe("curl 7");
    expect(performance.now() - begun).toBeGreaterThan(1_500);
    const { address } = lab.pod("app-ns/nobody");
    const record = await world.until("record", () =>
      world.records().find((one) => one.reason === "UnknownWorkload" && one.source?.address === address.ipv4),
    );
    expect(record.workload).toBeUndefined();
    // Nor under a foreign name: its interface is known before it is.
    await run("app-ns/nobody", "spoof.ts", OUTSIDE.partner.ipv4, "20", "198.51.100.200", lab.pod(APP).address.ipv4);
    expect(await world.leaked(OUTSIDE.partner.ipv4)).toEqual({ packets: 0, payload: 0 });
    await lab.removePod("app-ns/nobody");
  });
});

test("an address that another pod had brings neither its flows nor its look-ups", async () => {
  const name = "moving.github.com";
  await lab.setOutsideRecord("github.com", name, "A", [OUTSIDE.cdn.ipv4]);
  const { host } = await addListed("first");
  expect(await world.get("app-ns/first", `https://${name}/`, "-4")).toBe("200");
  const argv = ["curl", "-sSkN", "-m", "60", "-o", "/dev/null", `https://api.github.com/slow`];
  lab.spawn("app-ns/first", argv, { stdio: "ignore" });
  const open = await world.until("open flow", () =>
    world
      .records()
      .find(
        (one) =>
          one.workload?.name === "first" && one.destination?.name === "api.github.com" && one.event === "decision",
      ),
  );
  await lab.setOutsideRecord("github.com", name, "A", [POOL[0]?.ipv4 ?? ""]);
  await sleep(1_100);
  await world.applied(() => lab.removePod("app-ns/first"));
  await addListed("second", host);
  const ended = await world.until("end", () =>
    world.records().find((one) => one.flowId === open.flowId && one.event === "end"),
  );
  expect(ended).toMatchObject({
    closedBy: "policy",
    received: { packets: expect.any(Number), bytes: expect.any(Number) },
  });
  expect(ended.received?.bytes).toBeGreaterThan(1000);
  await lab.forgetOutside();
  const foreign = ["--connect-to", `${name}:443:${OUTSIDE.cdn.ipv4}:443`];
  expect(await world.get("app-ns/second", `https://${name}/`, "-4", ...foreign)).not.toBe("200");
  expect((await world.leaked(OUTSIDE.cdn.ipv4)).payload).toBe(0);
  expect(await world.get("app-ns/second", `https://${name}/`, "-4")).toBe("200");
  // The first pod's flow is over for the second one too.
  const { source, destination } = open;
  await lab.forgetOutside();
  await run(
    "app-ns/second",
    "segment.ts",
    `${source?.address}`,
    `${source?.port}`,
    `${destination?.address}`,
    "443",
    "secret",
  );
  expect((await world.leaked(destination?.address ?? "")).payload).toBe(0);
});

test("a borrowed address gets nowhere", async () => {
  await lab.forgetOutside();
  const app = lab.pod(APP).address;
  for (const [to, sources] of [
    [OUTSIDE.partner.ipv4, [app.ipv4, "198.51.100.200", "10.244.1.77", "192.0.2.11"]],
    [OUTSIDE.partner.ipv6, [app.ipv6, "2001:db8:100::200", "fd00:244:1::77"]],
  ] as const) {
    const said = await run(WILD, "spoof.ts", to, "50", ...sources);
    expect(JSON.parse(said).sent).toBeGreaterThan(0);
  }
  expect(await world.leaked(OUTSIDE.partner.ipv4, OUTSIDE.partner.ipv6)).toEqual({ packets: 0, payload: 0 });
  expect(await world.get(APP, `https://${OUTSIDE.partner.ipv4}:8443/`, "-k")).toBe("200");
});

test("marks of others and the node's own traffic are left alone", async () => {
  const rules = `table inet others {
    counter kept { }
    counter seen { }
    chain prerouting { type filter hook prerouting priority -180; iifname "pod*" meta mark set meta mark or 0x4000 ct mark set ct mark or 0xa000
    }
    chain postrouting { type filter hook postrouting priority 300; oifname "eth0" ip daddr ${OUTSIDE.githubApi.ipv4} counter name seen
      oifname "eth0" ip daddr ${OUTSIDE.githubApi.ipv4} meta mark and 0xffffffc0 == 0x4000 ct mark and 0xffffffc0 == 0xa000 counter name kept
    }
  }`;
  expect((await lab.exec("node1", ["nft", "-f", "-"], { input: rules })).stderr).toBe("");
  expect(await world.get(APP, "https://api.github.com/", "-4")).toBe("200");
  const { stdout } = await lab.exec("node1", ["nft", "-j", "list", "counters", "table", "inet", "others"]);
  const counters = (JSON.parse(stdout) as { nftables: { counter?: { name: string; packets: number } }[] }).nftables;
  const count = (name: string) => counters.find(({ counter }) => counter?.name === name)?.counter?.packets ?? 0;
  expect(count("seen")).toBeGreaterThan(5);
  expect(count("kept")).toBe(count("seen"));
  await lab.exec("node1", ["nft", "delete", "table", "inet", "others"]);
  expect(await world.get("node1", `http://${EVIL.ipv4}/`)).toBe("200");
  expect(await world.get("node1", `http://[${EVIL.ipv6}]/`)).toBe("200");
});

describe("somebody takes our rules away", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["the whole ruleset", ["nft", "flush", "ruleset"]],
    ["our table", ["nft", "delete", "table", "inet", "sallyport"]],
    ["one chain", ["nft", "flush", "chain", "inet", "sallyport", "forward_question"]],
    ["the mangle tables", ["sh", "-c", "iptables-nft -t mangle -F; ip6tables-nft -t mangle -F"]],
  ];
  test.each(cases)("%s: they are back within a second", async (name, argv) => {
    const agent = world.agent;
    if (agent === null) throw new Error("no agent");
    const own = (await lab.exec("node1", ["sh", "-c", TABLES_OF_THE_LAB])).stdout;
    const flood = world.script(WILD, "flood.ts", "3", EVIL.ipv4, EVIL.ipv6);
    const over = once(flood, "exit");
    await sleep(500);
    await lab.forgetOutside();
    agent.forgetLog();
    const begun = performance.now();
    await lab.exec("node1", argv);
    if (argv.includes("ruleset")) await lab.exec("node1", ["nft", "-f", "-"], { input: own });
    const restored = agent.event("ruleset-restored", 3_000).then(() => Math.round(performance.now() - begun));
    await sleep(Math.max(0, begun + 1_000 - performance.now()));
    const window = await world.leaked(EVIL.ipv4, EVIL.ipv6);
    await lab.forgetOutside();
    console.log(
      `${name}: back after ${await restored} ms; got out: ${window.packets} packets, ${window.payload} with payload`,
    );
    await over;
    expect((await world.leaked(EVIL.ipv4, EVIL.ipv6)).payload).toBe(0);
    expect(await world.get(APP, "https://api.github.com/")).toBe("200");
    await lab.forgetOutside();
    await once(world.script(WILD, "flood.ts", "0.5", EVIL.ipv4, EVIL.ipv6), "exit");
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  });
});

const TABLES_OF_THE_LAB = ["ip", "ip6"]
  .flatMap((family) => ["lab_nat", "lab_services"].map((table) => `nft list table ${family} ${table}`))
  .join("; ");

async function addListed(name: string, host?: number): Promise<{ host: number }> {
  const spec = { namespace: "app-ns", name, labels: APP_LABELS, node: 1 };
  let made = { host: 0 };
  await world.applied(async () => {
    made = await lab.addPod(spec, host === undefined ? {} : { host });
  });
  return made;
}

/** Runs a script in a pod to its end and answers what it said. */
async function run(pod: string, script: string, ...parameters: string[]): Promise<string> {
  const child = world.script(pod, script, ...parameters);
  let said = "";
  child.stdout?.on("data", (text) => {
    said += text;
  });
  await once(child, "close");
  return said;
}
