import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseLine } from "../../src/flow/line.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { must } from "../../src/lab/process.ts";
import { AgentLab, sleep } from "../support/agent-lab.ts";

const APP = "app-ns/app";
const PARTNER = OUTSIDE.partner.ipv4;

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: {}
  rules:
    - name: paths
      action: Allow
      to:
        - domains: ["*.github.com"]
          ports: [{ protocol: TCP, port: 80 }]
          http: { methods: [GET], paths: [{ prefix: /open }] }
    - name: partner
      action: Allow
      to: [{ cidrs: [${PARTNER}/32] }]
`;

let world: AgentLab;
let lab: Lab;

beforeAll(async () => {
  world = await AgentLab.up(`agf${process.pid % 10_000}x`, {
    policies: { "app.yaml": POLICY },
    pods: [{ namespace: "app-ns", name: "app", labels: { role: "app" } }],
  });
  lab = world.lab;
  // Ends are seen when conntrack lets go, which it does in its own time.
  const patience = ["time_wait", "close", "last_ack", "fin_wait"].map(
    (of) => `net.netfilter.nf_conntrack_tcp_timeout_${of}=1`,
  );
  const datagrams = ["timeout", "timeout_stream"].map((of) => `net.netfilter.nf_conntrack_udp_${of}=2`);
  await lab.exec("node1", ["sysctl", "-qw", ...patience, ...datagrams]);
});

afterEach(async () => {
  await world.agent?.stop();
});

afterAll(() => world?.down());

/** Many short flows, so many lines: UDP to as many ports. */
async function traffic(count: number): Promise<void> {
  const script = `const s=require("dgram").createSocket("udp4");s.on("error",()=>0);let n=0;const t=setInterval(()=>{for(let i=0;i<20&&n<${count};i++)s.send("x",20000+n++,"${PARTNER}");if(n>=${count}){clearInterval(t);setTimeout(()=>s.close(),50)}},5)`;
  await lab.exec(APP, [process.execPath, "-e", script]);
}

describe("the flow log", () => {
  test("has a line at the decision and one at the end, with sizes, and nothing that should not be in a log", async () => {
    await world.start();
    expect(await world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
    const decision = await world.until("decision", () =>
      world.records().find(({ destination }) => destination?.port === 8443),
    );
    expect(decision).toMatchObject({ event: "decision", action: "Allow", rule: "partner", protocol: "TCP" });
    expect(decision.workload).toMatchObject({ namespace: "app-ns", name: "app", labels: { role: "app" } });
    // Whoever lists the entries ends those whose time is over; else the kernel comes by in its own time.
    await sleep(2_500);
    await lab.exec("node1", ["cat", "/proc/net/nf_conntrack"]);
    const end = await world.until(
      "end",
      () => world.records().find(({ event, flowId }) => event === "end" && flowId === decision.flowId),
      8_000,
    );
    expect(end.closedBy).toMatch(/^(closed|reset)$/);
    expect(end.sent?.packets).toBeGreaterThan(4);
    expect(end.received?.bytes).toBeGreaterThan(1_000);
    expect(end.durationMs).toBeGreaterThan(0);
    expect(end.durationMs).toBeLessThan(1_500);

    await world.get(APP, "http://api.github.com/open/a?token=hunter2");
    await world.get(APP, "http://api.github.com/secret?token=hunter2");
    await world.get(APP, "http://api.github.com/open/%0a%22%1b%5b31m?hunter2", "--path-as-is");
    await world.until("request", () => world.records().find(({ path }) => path === "/secret"));
    const text = readFileSync(world.flows, "utf8");
    expect(text).not.toContain("hunter2");
    const controls = [...text].filter((one) => one !== "\n" && (one < " " || one === "\u007f"));
    expect(controls).toEqual([]);
    for (const line of text.split("\n").slice(0, -1)) expect(parseLine(line)).not.toBeNull();
    const denied = world.records().find(({ path }) => path === "/secret");
    expect(denied).toMatchObject({ action: "Deny", method: "GET", destination: { name: "api.github.com" } });
  });

  test("is rotated by size, and keeps as many files as it was told", async () => {
    await startWith(["--flows-max-size", "20000", "--flows-keep", "2"]);
    await traffic(400);
    await world.until("rotation", () => existsSync(`${world.flows}.2`));
    await world.agent?.stop();
    for (const name of [world.flows, `${world.flows}.1`, `${world.flows}.2`]) {
      expect(statSync(name).size).toBeLessThanOrEqual(20_000);
      const lines = readFileSync(name, "utf8").split("\n").slice(0, -1);
      expect(lines.every((line) => parseLine(line) !== null)).toBe(true);
    }
    expect(existsSync(`${world.flows}.3`)).toBe(false);
  });

  test("on a full disk: verdicts go on, and what is missing is said once there is room", async () => {
    const disk = join(lab.directory, "small");
    mkdirSync(disk, { recursive: true });
    await must(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
    const path = join(disk, "flows.jsonl");
    try {
      const agent = await world.start({}, path);
      await traffic(500);
      await agent.event("flow-log-failed", 6_000);
      expect(await world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
      expect(await world.get(APP, `http://${OUTSIDE.evil.ipv4}/`)).toMatch(/403|curl 7/);
      const held = world.records(path).length;
      await must(["mount", "-o", "remount,size=8m", disk]);
      const lost = await world.until("lost", () => world.records(path).find(({ event }) => event === "lost"), 6_000);
      await sleep(1_500);
      const said = world.records(path).reduce((sum, record) => sum + (record.lost ?? 0), 0);
      expect(lost.lost).toBeGreaterThan(0);
      expect(held).toBeGreaterThan(10);
      // Every line is a whole one, also where the disk took half of it.
      const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
      expect(lines.every((line) => parseLine(line) !== null)).toBe(true);
      const decisions = world
        .records(path)
        .filter(({ event, protocol }) => event === "decision" && protocol === "UDP").length;
      const ends = world.records(path).filter(({ event, protocol }) => event === "end" && protocol === "UDP").length;
      expect(decisions + ends + said).toBeGreaterThanOrEqual(500);
    } finally {
      await world.agent?.stop();
      await must(["umount", disk]);
    }
  });

  test("a reader of standard output that does not read costs lines, not verdicts, and not the end", async () => {
    const { child, said, exited } = await startToStdout();
    child.stdout?.pause();
    await traffic(3_000);
    const [code, seconds] = (
      await world.get(APP, `https://${PARTNER}:8443/`, "-k", "-w", "%{http_code} %{time_total}")
    ).split(" ");
    expect(code).toBe("200");
    expect(Number(seconds)).toBeLessThan(1);
    child.kill("SIGHUP");
    await world.until("reload", () => said("reload"));
    const stopping = performance.now();
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - stopping).toBeLessThan(3_000);
  });

  test("a reader of standard output that goes away does not take the agent with it", async () => {
    const { child, exited } = await startToStdout();
    child.stdout?.destroy();
    await traffic(100);
    await sleep(500);
    expect(child.exitCode).toBeNull();
    expect(await world.get(APP, `https://${PARTNER}:8443/`, "-k")).toBe("200");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });
});

/** The agent of the lab with more on its command line. */
async function startWith(more: readonly string[]): Promise<void> {
  await world.start({}, world.flows, more);
}

/** An agent that enforces and writes its flow log to a pipe; nobody reads it yet. */
async function startToStdout() {
  const log = join(lab.directory, "stdout-agent.log");
  writeFileSync(log, "");
  const main = join(import.meta.dirname, "../../src/cli/main.ts");
  const argv = ["sh", "-c", `exec "$@" 2>${log}`, "sh", process.execPath, main, "agent"];
  const files = ["--policies", world.policies, "--workloads", lab.workloadsPath, "--config", await lab.configYaml(1)];
  const state = ["--state", join(lab.directory, "state-stdout")];
  const child = lab.spawn("node1", [...argv, ...files, ...state, "--flows", "-"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const exited = once(child, "exit");
  const said = (event: string): boolean => readFileSync(log, "utf8").includes(`"event":"${event}"`);
  await world.until("ready", () => said("ready"), 15_000);
  return { child, said, exited };
}
