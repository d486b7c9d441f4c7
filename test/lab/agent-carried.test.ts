import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FlowRecord } from "../../src/flow/record.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const PLAIN = "app-ns/plain";
const PARTNER = OUTSIDE.partner;
const PORT = 20_000;

/** `allowed`: whether an address rule lets the selected pods talk to the partner. */
const policy = (allowed: boolean) => `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: { podSelector: { matchLabels: { role: app } } }
  rules:
    - name: partner
      action: Allow
      to: [{ cidrs: [${allowed ? `${PARTNER.ipv4}/32, "${PARTNER.ipv6}/128"` : "192.0.2.1/32"}] }]
`;

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agc${process.pid % 10_000}x`, {
    policies: { "app.yaml": policy(true) },
    pods: [
      { namespace: "app-ns", name: "app", labels: { role: "app" } },
      { namespace: "app-ns", name: "plain" },
    ],
  });
  lab = world.lab;
});

beforeEach(async () => {
  world.write("app.yaml", policy(true));
  await lab.setLabels(PLAIN, {});
  await world.start();
});

afterEach(async () => {
  await world.agent?.stop();
});

afterAll(() => world?.down());

/** UDP flows to one port, each from a port of its own, one after the other. */
async function datagrams(pod: string, count: number, to: string = PARTNER.ipv4, pauseMs = 5): Promise<void> {
  const kind = to.includes(":") ? "udp6" : "udp4";
  const script = `const{createSocket}=require("dgram");(async()=>{for(let i=0;i<${count};i++){const s=createSocket("${kind}");s.on("error",()=>0);await new Promise(r=>s.send("x",${PORT},"${to}",r));setTimeout(()=>s.close(),20);await new Promise(r=>setTimeout(r,${pauseMs}))}})()`;
  await lab.exec(pod, [process.execPath, "-e", script]);
}

const connect = (pod: string, to: string = PARTNER.ipv4) =>
  world.get(pod, `https://${to.includes(":") ? `[${to}]` : to}:8443/`, "-k", "-m", "2");

async function carried(): Promise<number> {
  const { stdout } = await lab.exec("node1", ["nft", "list", "counter", "inet", "sallyport", "carried"]);
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
}

/** Elements of both sets. */
async function elements(): Promise<number> {
  let count = 0;
  for (const set of ["carry4", "carry6"]) {
    const { stdout } = await lab.exec("node1", ["nft", "-j", "list", "set", "inet", "sallyport", set]);
    const { nftables } = JSON.parse(stdout) as { nftables: { set?: { elem?: unknown[] } }[] };
    count += nftables.flatMap(({ set: one }) => one?.elem ?? []).length;
  }
  return count;
}

/** What conntrack remembers of the datagram flows of the app. */
async function states(): Promise<number[]> {
  const argv = ["conntrack", "-L", "-p", "udp", "--dport", String(PORT), "-s", lab.pod(APP).address.ipv4];
  const { stdout } = await lab.exec("node1", argv);
  return [...stdout.matchAll(/mark=(\d+)/g)].map((match) => Number(match[1]) & 7);
}

const decisions = (name: string, port = PORT): FlowRecord[] =>
  world
    .records()
    .filter((one) => one.event === "decision" && one.workload?.name === name && one.destination?.port === port);

async function arrived(protocol: string): Promise<number> {
  const seen = (await lab.outsideSaw()).filter((one) => one.protocol === protocol && one.address === PARTNER.ipv4);
  return seen.reduce((sum, { packets }) => sum + packets, 0);
}

describe("flows that the kernel opened", () => {
  test.each([
    ["IPv4", PARTNER.ipv4],
    ["IPv6", PARTNER.ipv6],
  ])("%s: each has its record, and its end, like the one that was asked about", async (_family, to) => {
    const before = { flows: decisions("app").length, carried: await carried() };
    await datagrams(APP, 60, to);
    const flows = await world.until("60 records", () => {
      const all = decisions("app").slice(before.flows);
      return all.length >= 60 && all;
    });
    expect(flows).toHaveLength(60);
    expect((await carried()) - before.carried).toBeGreaterThan(40);
    const alike = flows.map(({ action, policy: of, rule, reason, protocol, application }) =>
      [action, of, rule, reason, protocol, application].join(" "),
    );
    expect(new Set(alike).size).toBe(1);
    expect(new Set(flows.map(({ flowId }) => flowId)).size).toBe(60);
    expect(new Set(flows.map(({ source }) => source?.port)).size).toBe(60);
    await lab.exec("node1", ["conntrack", "-D", "-p", "udp", "--dport", String(PORT)]);
    const ids = new Set(flows.map(({ flowId }) => flowId));
    await world.until(
      "60 ends",
      () => world.records().filter((one) => one.event === "end" && ids.has(one.flowId)).length === 60,
    );
  });

  test("TCP: they work, and are ended by a policy that no longer allows them", async () => {
    for (let n = 0; n < 6; n++) expect(await connect(APP)).toBe("200");
    const before = await carried();
    const slow = lab.spawn(APP, ["curl", "-sSkN", "-m", "60", "-o", "/dev/null", `https://${PARTNER.ipv4}:8443/slow`], {
      stdio: "ignore",
    });
    await world.until("a carried download", async () => (await carried()) > before);
    await sleep(300);
    expect(slow.exitCode).toBeNull();
    await world.applied(() => world.write("app.yaml", policy(false)));
    await world.until("its end", () => slow.exitCode !== null, 2_000);
    expect(await connect(APP)).toMatch(/^curl (7|28|35|56)$/);
  });

  test("workloads that are observed have theirs recorded, too", async () => {
    const before = decisions("plain").length;
    await datagrams(PLAIN, 30);
    await world.until("30 records", () => decisions("plain").length - before === 30);
    expect(await carried()).toBeGreaterThan(15);
  });
});

describe("a change", () => {
  test("of the policy: nothing is carried any more, and nothing of what was on its way lives", async () => {
    const flood = datagrams(APP, 800, PARTNER.ipv4, 2);
    await world.until("carried flows", async () => (await carried()) > 50);
    await world.applied(() => world.write("app.yaml", policy(false)));
    expect(await elements()).toBe(0);
    await lab.forgetOutside();
    const before = await carried();
    await flood;
    expect(await carried()).toBe(before);
    expect(await arrived("udp")).toBe(0);
    const last = await world.until("a denial", () => decisions("app").findLast(({ action }) => action === "Deny"));
    expect(last.reason).toBe("DefaultDeny");
    // Whatever was opened before and told of after it is not followed as allowed.
    const marks = await states();
    expect(marks.filter((state) => state === 2)).toEqual([]);
  });

  test("of a label: a pod that comes under a policy is judged by it at once", async () => {
    await datagrams(PLAIN, 20);
    expect(await elements()).toBeGreaterThan(0);
    world.write("app.yaml", policy(false));
    await world.agent?.event("applied");
    await datagrams(PLAIN, 20);
    await world.applied(() => lab.setLabels(PLAIN, { role: "app" }));
    expect(await elements()).toBe(0);
    await lab.forgetOutside();
    await datagrams(PLAIN, 10);
    expect(await arrived("udp")).toBe(0);
  });

  test("of the pod behind an address: the next one inherits nothing", async () => {
    const spec = (name: string, labels: Record<string, string>) => ({ namespace: "app-ns", name, labels, node: 1 });
    let host = 0;
    await world.applied(async () => {
      host = (await lab.addPod(spec("first", {}))).host;
    });
    await datagrams("app-ns/first", 20);
    expect(await elements()).toBeGreaterThan(0);
    world.write("app.yaml", policy(false));
    await world.agent?.event("applied");
    await datagrams("app-ns/first", 20);
    await world.applied(() => lab.removePod("app-ns/first"));
    expect(await elements()).toBe(0);
    await world.applied(() => lab.addPod(spec("second", { role: "app" }), { host }));
    await lab.forgetOutside();
    await datagrams("app-ns/second", 10);
    expect(await arrived("udp")).toBe(0);
    expect(decisions("second").filter(({ action }) => action === "Allow")).toEqual([]);
    await world.applied(() => lab.removePod("app-ns/second"));
  });
});

describe("when the agent is killed", () => {
  test("what it allowed a moment ago goes on for five seconds, and then is closed", async () => {
    await datagrams(APP, 20);
    await world.agent?.kill();
    await sleep(5_500);
    expect(await elements()).toBe(0);
    await lab.forgetOutside();
    await datagrams(APP, 10);
    expect(await connect(APP)).toBe("curl 28");
    expect(await arrived("udp")).toBe(0);
  });

  test("the next one decides what was opened meanwhile, and does not open what it has not allowed itself", async () => {
    await datagrams(APP, 20);
    await world.agent?.kill();
    await datagrams(APP, 20);
    world.write("app.yaml", policy(false));
    await world.start();
    expect(await elements()).toBe(0);
    const marks = await states();
    expect(marks.length).toBeGreaterThan(20);
    expect(marks.filter((state) => state === 2)).toEqual([]);
  });
});

test("the rules are not put back because of what comes and goes in the sets", async () => {
  world.agent?.forgetLog();
  await datagrams(APP, 50, PARTNER.ipv4, 20);
  expect(world.agent?.log.filter(({ event }) => event === "ruleset-restored")).toEqual([]);
});
