import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import type { Lab } from "../../src/lab/lab.ts";
import { inNetworkOnly } from "../../src/lab/process.ts";
import { AgentLab, appPolicy, sleep } from "../support/agent-lab.ts";
import { steadyLoad } from "../support/steady-client.ts";
import type { Attempt } from "../support/steady-load.ts";

const APP = "app-ns/app";
const WORKER = "app-ns/worker";
const WILD = "app-ns/wild";
const RESOLVER = "10.96.0.10";
const EVIL = OUTSIDE.evil;
const SOURCES = join(import.meta.dirname, "../../src/cli/main.ts");
const HAND_OVERS = 5;
/** Longer than it takes the old agent to see that the new one does not come back. */
const PATIENTLY = ["-m", "2", "--retry", "5", "--retry-delay", "1", "--retry-all-errors"];

const policy = (github: string) =>
  appPolicy(`    - name: github
      action: Allow
      to: [{ domains: ["${github}"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: pages
      action: Allow
      to: [{ domains: ["gist.github.com"], ports: [{ protocol: TCP, port: 80 }], http: { methods: [GET], paths: [{ exact: / }] } }]
    - name: partner
      action: Allow
      to: [{ cidrs: [203.0.113.10/32], ports: [{ protocol: TCP, port: 22 }] }]
`);

let world: AgentLab;
let lab: Lab;
const agents: AgentProcess[] = [];
let started = 0;

beforeAll(async () => {
  world = await AgentLab.up(`agh${process.pid % 10_000}x`, {
    policies: { "app.yaml": policy("*.github.com") },
    pods: ["app", "worker", "wild"].map((name) => ({ namespace: "app-ns", name })),
  });
  lab = world.lab;
});

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.stop(3_000)));
  world.write("app.yaml", policy("*.github.com"));
});

afterAll(() => world?.down());

/** One more agent on the node, beside those that run. */
async function start(more: readonly string[] = ["--linger", "8"]): Promise<AgentProcess> {
  const agent = await AgentProcess.start(lab, {
    node: 1,
    command: [process.execPath, SOURCES],
    policies: world.policies,
    config: await lab.configYaml(1, {}),
    flows: world.flows,
    log: `${lab.directory}/agent-${++started}.log`,
    readyTimeoutMs: 30_000,
    more,
  });
  agents.push(agent);
  world.agent = agent;
  return agent;
}

/** How an agent is started from here, to be killed from here. */
async function command(more: readonly string[]): Promise<[string, string[]]> {
  const config = await lab.configYaml(1, {});
  const files = ["--policies", world.policies, "--workloads", lab.workloadsPath, "--config", config];
  const argv = [process.execPath, SOURCES, "agent", ...files, "--state", join(lab.directory, "state-node1"), ...more];
  const [program = "", ...words] = inNetworkOnly(lab.node(1).netns, argv);
  return [program, words];
}

function load(pod: string, rate: number) {
  const api = OUTSIDE.githubApi.ipv4;
  return steadyLoad(world, pod, rate, RESOLVER, "api.github.com", api, "raw.github.com", OUTSIDE.partner.ipv4, "22");
}

function keptHttp(pod: string) {
  const child = world.script(pod, "kept-http.ts", OUTSIDE.githubGist.ipv4, "gist.github.com");
  let said = "";
  child.stdout?.on("data", (text) => {
    said += text;
  });
  return {
    async end(): Promise<{ answers: number; failures: number; connections: number; slowest: number }> {
      const over = once(child, "exit");
      child.kill("SIGTERM");
      await over;
      return JSON.parse(said);
    },
  };
}

function download(pod: string) {
  const argv = ["curl", "-sSkN", "-m", "200", "-o", "/dev/null", "https://api.github.com/slow"];
  const child = lab.spawn(pod, argv, { stdio: "ignore" });
  return { runs: () => child.exitCode === null && child.signalCode === null, stop: () => child.kill("SIGKILL") };
}

function percentile(values: readonly number[], part: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * part)] ?? 0;
}

/** What the agents said, and the slowest attempts, in order. */
function timeline(from: number, attempts: readonly Attempt[]): string {
  const said = agents.flatMap((agent, i) =>
    agent.log.map((line) => ({ at: Date.parse(String(line["time"])), text: `agent ${i + 1} ${line["event"]}` })),
  );
  const slow = attempts.filter(({ ms, problem }) => ms > 60 || problem !== "");
  const tried = slow.map(({ at, ms, kind, problem }) => ({
    at,
    text: `  ${kind} took ${Math.round(ms)} ms ${problem}`,
  }));
  const all = [...said, ...tried].filter(({ at }) => at >= from).sort((a, b) => a.at - b.at);
  return all.map(({ at, text }) => `${((at - from) / 1_000).toFixed(3)} ${text}`).join("\n");
}

const stateFiles = (): string[] => readdirSync(join(lab.directory, "state-node1")).sort();
const events = (agent: AgentProcess, name: string) => agent.log.filter((line) => line["event"] === name);

describe("a new agent beside one that enforces", () => {
  test("five in a row: nobody waits, nothing breaks, nothing gets out", { timeout: 240_000 }, async () => {
    let last = await start();
    await world.get(APP, "http://gist.github.com/");
    const slow = download(APP);
    const loads = [await load(APP, 30), await load(WORKER, 30)];
    await lab.forgetOutside();
    const flood = world.script(WILD, "flood.ts", "200", EVIL.ipv4, EVIL.ipv6);
    const calmFrom = Date.now();
    await sleep(4_000);
    const calmTo = Date.now();
    const switches: number[] = [];
    for (let turn = 0; turn < HAND_OVERS; turn++) {
      const kept = keptHttp(WORKER);
      await sleep(700);
      const next = await start();
      switches.push(Date.now());
      await sleep(1_500);
      const said = await kept.end();
      expect(said).toMatchObject({ failures: 0, connections: 1 });
      expect(said.answers).toBeGreaterThan(15);
      expect(await last.exited()).toBe(0);
      await next.event("taken-over");
      expect(events(last, "ruleset-restored")).toEqual([]);
      last = next;
    }
    flood.kill("SIGKILL");
    const attempts = (await Promise.all(loads.map((one) => one.end()))).flat();
    console.log(timeline(calmFrom, attempts));
    expect(attempts.filter(({ problem }) => problem !== "")).toEqual([]);
    const calm = attempts.filter(({ at }) => at > calmFrom && at < calmTo).map(({ ms }) => ms);
    // All of it: the new process starting beside the old one, the switch, the old one's end.
    const busy = attempts.filter(({ at }) => at >= calmTo);
    const around = busy.filter(({ at }) => switches.some((time) => at > time - 1_000 && at < time + 500));
    const [p99, longest] = [percentile(calm, 0.99), Math.max(...around.map(({ ms }) => ms))];
    const worst = Math.max(...busy.map(({ ms }) => ms));
    console.log(
      `calm: ${calm.length} connections, p99 ${p99.toFixed(1)} ms; around ${HAND_OVERS} switches: ${around.length}, p99 ${percentile(
        around.map(({ ms }) => ms),
        0.99,
      ).toFixed(1)} ms, longest ${longest.toFixed(1)} ms; all: ${busy.length}, longest ${worst.toFixed(1)} ms`,
    );
    // The figure is printed above; what must hold anywhere is that no packet was lost, and a lost SYN costs 1,000 ms.
    expect(longest - p99).toBeLessThanOrEqual(500);
    expect(slow.runs()).toBe(true);
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
    await sleep(400);
    expect(stateFiles()).toEqual(["agent-1.json", "agent-1.sock", "journal.1", "lock", "requests-1"]);
    await world.applied(() => world.write("app.yaml", policy("dns.google")));
    await world.until("end of the download", () => !slow.runs(), 2_000);
  });

  test("one that hangs is ended", { timeout: 60_000 }, async () => {
    const old = await start(["--no-supervise"]);
    const slow = download(APP);
    await sleep(600);
    old.signal("SIGSTOP");
    const next = await start();
    expect(await old.exited()).toBe(null);
    await next.event("taken-over");
    expect(events(next, "predecessor-hangs")).toHaveLength(1);
    expect(await world.get(WORKER, "https://api.github.com/", "-k")).toBe("200");
    expect(slow.runs()).toBe(true);
    slow.stop();
    expect(stateFiles().filter((name) => name.startsWith("agent-"))).toHaveLength(2);
  });

  test("the old one goes on when the new one dies before it enforces", { timeout: 60_000 }, async () => {
    const old = await start();
    await world.get(APP, "https://api.github.com/", "-k");
    const slow = download(APP);
    await sleep(500);
    const asker = connect(join(lab.directory, "state-node1", stateFiles().find((name) => name.endsWith(".sock"))!));
    asker.write("retire\n");
    expect(String((await once(asker, "data"))[0])).toBe("retiring\n");
    expect(await world.get(WORKER, "https://api.github.com/", "-k")).toBe("200");
    // As if it had been killed between its rules and its word: they are not the old one's.
    await lab.exec("node1", ["nft", "flush", "chain", "inet", "sallyport", "ask_strict"]);
    await sleep(600);
    expect(events(old, "ruleset-restored")).toEqual([]);
    asker.destroy();
    await old.event("resumed");
    await old.event("ruleset-restored");
    expect(await world.get(WORKER, "https://raw.github.com/", "-k")).toBe("200");
    await world.applied(() => world.write("app.yaml", policy("dns.google")));
    await world.until("end of the download", () => !slow.runs(), 2_000);
    expect(await old.stop()).toBe(0);
  });

  test("killed in the midst, again and again: what is allowed lives, nothing gets out", {
    timeout: 100_000,
  }, async () => {
    const old = await start(["--linger", "3"]);
    const slow = download(APP);
    await lab.forgetOutside();
    const flood = world.script(WILD, "flood.ts", "60", EVIL.ipv4, EVIL.ipv6);
    for (let turn = 0; turn < 3; turn++) {
      const child = spawn(...(await command(["--linger", "3", "--no-supervise"])), { stdio: "ignore" });
      const dead = once(child, "exit");
      // Somewhere between its first step and its last, then behind that.
      const both = () => stateFiles().filter((name) => name.endsWith(".sock")).length === 2;
      if (turn < 2) await sleep(1_200 + 900 * turn);
      else await world.until("second agent", both, 20_000);
      child.kill("SIGKILL");
      await dead;
      const got = await world.get(WORKER, "https://api.github.com/", "-k", ...PATIENTLY);
      expect(got, timeline(0, [])).toBe("200");
    }
    flood.kill("SIGKILL");
    await old.event("abandoned");
    expect(slow.runs()).toBe(true);
    slow.stop();
    expect(await world.leaked(EVIL.ipv4, EVIL.ipv6)).toEqual({ packets: 0, payload: 0 });
  });
});
