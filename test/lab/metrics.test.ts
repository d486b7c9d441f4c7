import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import koffi from "koffi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StatusReport } from "../../src/agent/metrics/status-report.ts";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";
import { type MetricFamily, metric, parseOpenMetrics } from "../support/open-metrics.ts";

const APP = "app-ns/app";
const POLICY_NAME = "ClusterEgressPolicy/app";
const PARTNER = `https://${OUTSIDE.partner.ipv4}:8443/`;
const EVIL = `https://${OUTSIDE.evil.ipv4}/`;
const OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
const POLICY = appPolicy(`    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32], ports: [{ protocol: TCP, port: 8443 }] }]
`);

let world: AgentLab;
let socket: string;

beforeAll(async () => {
  world = await AgentLab.up(`met${process.pid % 10_000}`, {
    policies: { "app.yaml": POLICY },
    pods: [{ namespace: "app-ns", name: "app" }],
  });
  socket = join(world.lab.directory, "agent.sock");
  await start();
});

afterAll(() => world?.down());

/** Without the supervisor, which would kill a whole agent before it replaces its lane by itself. */
function start() {
  return world.start({}, world.flows, ["--no-supervise", "--listen", "127.0.0.1:9464", "--listen", `unix:${socket}`]);
}

function get(path: string, accept = "*/*", method = "GET"): Promise<{ status: number; type: string; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socket, path, method, headers: { accept } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text }),
      );
    });
    call.on("error", reject);
    call.end();
  });
}

async function metrics(): Promise<Map<string, MetricFamily>> {
  return parseOpenMetrics((await get("/metrics", OPEN_METRICS)).text);
}

function ready(): Promise<true> {
  return world.until("readiness", async () => (await get("/readyz")).status === 200);
}

/** `sallyport status` in the namespace of the node. */
function statusCommand(...words: string[]) {
  const main = join(import.meta.dirname, "../../src/cli/main.ts");
  const argv = [`--net=/run/netns/${world.lab.node(1).netns}`, process.execPath, main, "status", ...words];
  return spawnSync("nsenter", argv, { encoding: "utf8", timeout: 20_000, env: { ...process.env, NO_COLOR: "1" } });
}

describe("what is answered", () => {
  test("metrics in both formats, health, readiness, status", async () => {
    await ready();
    const open = await get("/metrics", OPEN_METRICS);
    expect(open.type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    const families = parseOpenMetrics(open.text);
    expect(metric(families, "sallyport_ready")).toBe(1);
    expect(metric(families, "sallyport_epoch")).toBe(1);
    expect(metric(families, "sallyport_workloads", { state: "isolated" })).toBe(1);
    expect(metric(families, "process_resident_memory_bytes")).toBeGreaterThan(1e7);
    const plain = await get("/metrics");
    expect(plain.type).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(plain.text).toContain("\nprocess_cpu_seconds_total ");
    expect(plain.text).toContain("# TYPE sallyport_packets_total counter\n");
    expect(await get("/healthz")).toMatchObject({ status: 200, text: "ok\n" });
    expect((await get("/healthz", "*/*", "HEAD")).text).toBe("");
    expect((await get("/metrics", "*/*", "POST")).status).toBe(405);
    expect((await get("/elsewhere")).status).toBe(404);
  });

  test("`sallyport status` says it in words", () => {
    const page = statusCommand();
    expect({ status: page.status, stderr: page.stderr }).toEqual({ status: 0, stderr: "" });
    expect(page.stdout).toMatch(/^ready: everything is enforced\n/);
    expect(page.stdout).toContain("1 isolated, 0 restricted");
    const { stdout } = statusCommand("--agent", `unix:${socket}`, "-o", "json");
    expect(JSON.parse(stdout) as StatusReport).toMatchObject({ ready: true, epoch: { number: 1, adopted: 1 } });
    expect(statusCommand("--agent", "127.0.0.1:9999")).toMatchObject({ status: 2, stdout: "" });
  });
});

describe("what a known load does", () => {
  test("counters move by exactly as much", async () => {
    const before = await metrics();
    for (let i = 0; i < 10; i++) expect(await world.get(APP, PARTNER, "-k")).toBe("200");
    for (let i = 0; i < 5; i++) expect(await world.get(APP, EVIL, "-k")).toMatch(/^curl /);
    const decisions = metric(before, "sallyport_decisions_total") + 15;
    await world.until("15 decisions", async () => metric(await metrics(), "sallyport_decisions_total") >= decisions);
    await sleep(200);
    const after = await metrics();
    const moved = (name: string, labels: Readonly<Record<string, string>> = {}): number =>
      metric(after, name, labels) - metric(before, name, labels);
    const decided = "sallyport_decisions_total";
    expect(moved(decided, { policy: POLICY_NAME, kind: "flow", action: "Allow" })).toBe(10);
    expect(moved(decided, { policy: "", kind: "flow", action: "Deny" })).toBe(5);
    expect(moved(decided)).toBe(15);
    expect(moved("sallyport_denials_total", { reason: "DefaultDeny" })).toBe(5);
    expect(moved("sallyport_verdict_seconds_count")).toBe(moved("sallyport_packets_total"));
    // Some were opened by the kernel itself, and told of.
    const carried = moved("sallyport_carried_flows_total", { stage: "recorded" });
    expect(moved("sallyport_packets_total") + carried).toBeGreaterThanOrEqual(15);
    expect(moved("sallyport_records_lost_total")).toBe(0);
    // Closed ones, too: conntrack keeps them for a while.
    expect(moved("sallyport_live_flows")).toBe(10);
    await world.until("the records in the log", async () => {
      return metric(await metrics(), "sallyport_records_written_total") === world.records().length;
    });
    expect(metric(await metrics(), "sallyport_queue_dropped_packets_total")).toBe(0);
  });

  test("questions and bindings are counted", async () => {
    const before = await metrics();
    await world.get(APP, "https://api.github.com/", "-k", "-4");
    await world.get(APP, "https://forbidden.example/", "-k", "-4");
    const denied = metric(before, "sallyport_dns_denied_total");
    await world.until("denial", async () => metric(await metrics(), "sallyport_dns_denied_total") > denied);
    const after = await metrics();
    expect(metric(after, "sallyport_dns_questions_total")).toBeGreaterThan(
      metric(before, "sallyport_dns_questions_total"),
    );
    expect(metric(after, "sallyport_dns_denied_total")).toBeGreaterThan(metric(before, "sallyport_dns_denied_total"));
    expect(metric(after, "sallyport_bindings")).toBeGreaterThan(0);
  });
});

describe("the truth about readiness", () => {
  test("a flushed table is told until it is back", async () => {
    const restored = metric(await metrics(), "sallyport_ruleset_restored_total");
    let told = "";
    // The agent puts it back within a moment: asked at once, and again where it was quicker.
    for (let i = 0; i < 5 && told === ""; i++) {
      const { netns } = world.lab.node(1);
      spawnSync("nsenter", [`--net=/run/netns/${netns}`, "nft", "flush", "table", "inet", "sallyport"]);
      const answer = await get("/readyz");
      if (answer.status === 503) told = answer.text;
      await ready();
    }
    expect(told).toBe("the rules of table `inet sallyport` are not in place; they are being put back\n");
    expect(metric(await metrics(), "sallyport_ruleset_restored_total")).toBeGreaterThan(restored);
  });

  test("a lane that stands still is told until another gives verdicts", async () => {
    const thread = new StoppedThread(laneThread(world.agent?.child.pid ?? 0));
    try {
      const told = await world.until("word of it", async () => {
        const answer = await get("/healthz");
        return answer.status === 503 ? answer.text : null;
      });
      expect(told).toContain("the packet lane does not beat");
      expect((await get("/readyz")).status).toBe(503);
      expect(statusCommand()).toMatchObject({ status: 1 });
      await world.agent?.event("lane-replaced");
    } finally {
      thread.goOn();
    }
    await ready();
    const families = await metrics();
    expect(metric(families, "sallyport_lane_restarts_total")).toBe(1);
    // What the former lane counted is not forgotten.
    expect(metric(families, "sallyport_packets_total")).toBeGreaterThan(0);
    expect(metric(families, "sallyport_problems_total", { event: "lane-replaced" })).toBe(1);
    expect(await world.get(APP, PARTNER, "-k")).toBe("200");
  });

  test("a change that cannot be used leaves what runs, and is told", async () => {
    world.agent?.forgetLog();
    world.write("app.yaml", "kind: Nonsense\n");
    await world.agent?.event("documents-refused");
    const report = JSON.parse((await get("/status")).text) as StatusReport;
    expect(report).toMatchObject({ ready: true, policies: { enforced: 1 } });
    expect(report.problems.at(-1)).toMatchObject({ level: "error", event: "documents-refused" });
    world.write("app.yaml", POLICY);
  });

  test("no agent: exit status 2; the next one takes over a socket that was left behind", async () => {
    await world.agent?.kill();
    expect(statusCommand().status).toBe(2);
    expect(statusCommand("--agent", `unix:${socket}`).status).toBe(2);
    await start();
    await ready();
    expect(statusCommand("--agent", `unix:${socket}`).status).toBe(0);
  });
});

/** The packet lane among the threads of a process: the one that waits in poll with its name. */
function laneThread(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  const lane = threads.find((tid) => readFileSync(`/proc/${pid}/task/${tid}/comm`, "utf8").trim() === "packet-lane");
  if (lane === undefined) throw new Error("no thread `packet-lane`");
  return lane;
}

const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_DETACH = 17;

/** One thread of another process, stopped as a debugger stops it; the others go on. */
class StoppedThread {
  readonly #tid: number;
  readonly #ptrace: (request: number, tid: number, address: null, data: null) => number;

  constructor(tid: number) {
    this.#tid = tid;
    this.#ptrace = koffi.load("libc.so.6").func("long ptrace(long, int, void *, void *)");
    if (this.#ptrace(PTRACE_SEIZE, tid, null, null) !== 0) throw new Error("the thread cannot be stopped");
    this.#ptrace(PTRACE_INTERRUPT, tid, null, null);
  }

  goOn(): void {
    this.#ptrace(PTRACE_DETACH, this.#tid, null, null);
  }
}
