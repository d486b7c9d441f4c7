/**
 * Where measurements happen: three labs that are alike. One has a gate on its node, one plain forwarding and the rivals, and
 * in the third a loop in C answers whatever the gate's ruleset asks.
 */
import { existsSync, mkdirSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { GATEWAY, OUTSIDE, SERVICES } from "../src/lab/addresses.ts";
import { AgentProcess } from "../src/lab/agent-process.ts";
import { createLab, type Lab } from "../src/lab/lab.ts";
import { DNS_POD } from "../src/lab/layout.ts";
import { fabricNetns } from "../src/lab/names.ts";
import { inNetworkOnly, must, run, startServer } from "../src/lab/process.ts";
import { removeLab } from "../src/lab/teardown.ts";
import { type LoopAnswer, QueueLoop } from "./queue-loop.ts";
import { RIVAL_PORTS, startRivals } from "./rivals.ts";
import { SITE, type Wire, writeWire } from "./wire.ts";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
export const SALLYPORT = process.env.SALLYPORT ?? join(ROOT, "bin/sallyport");
export const CLIENT = "bench-ns/client";
export const PARTNER = OUTSIDE.partner.ipv4;
/** Where nothing of the lab listens on port 53; the gate's lab trusts it as a resolver. */
export const RESPONDER = GATEWAY.ipv4;
export const PORTS = {
  datagrams: [9000, 9001, 9002, 9003, 9004, 9005, 9006, 9007],
  banner: 9100,
  probe: 9200,
} as const;
const TOOLS = join(ROOT, ".cache/bench");

/** A compiled load generator. */
export function tool(name: "load" | "serve" | "probe" | "queue"): string {
  return join(TOOLS, name);
}

const NAMES = { free: `bf${process.pid}`, gate: `bg${process.pid}`, limit: `bl${process.pid}` } as const;

/** What the client's pod may do: each load has a rule of its own kind, behind others that do not match. */
export function policyText(): string {
  const filler = Array.from({ length: 20 }, (_, i) => ({
    name: `other-${i}`,
    action: "Allow",
    to: [{ domains: [`*.site${i}.example`, `site${i}.example`], ports: [{ protocol: "TCP", port: 443 }] }],
  }));
  const tcp = (port: number) => ({ protocol: "TCP", port });
  const rules = [
    ...filler,
    { name: "tls", action: "Allow", to: [{ domains: ["*.github.com"], ports: [tcp(443), tcp(8443)] }] },
    {
      name: "http",
      action: "Allow",
      to: [{ domains: ["*.github.com"], ports: [tcp(80)], http: { paths: [{ prefix: "/v1/" }] } }],
    },
    {
      name: "partner",
      action: "Allow",
      to: [{ cidrs: [`${PARTNER}/32`], ports: [{ protocol: "UDP", port: 9000, endPort: 9007 }, tcp(PORTS.banner)] }],
    },
  ];
  return stringify({
    apiVersion: "sallyport.dev/v1alpha1",
    kind: "ClusterEgressPolicy",
    metadata: { name: "bench" },
    spec: {
      tier: "Admin",
      priority: 100,
      defaultDeny: true,
      subject: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "bench-ns" } } },
      rules,
    },
  });
}

export class Stage {
  readonly free: Lab;
  readonly gate: Lab;
  readonly limit: Lab;
  readonly wire: Wire;
  readonly policies: string;
  agent: AgentProcess | null = null;
  #loop: { readonly answer: LoopAnswer; readonly of: QueueLoop } | null = null;

  private constructor([free, gate, limit]: readonly [Lab, Lab, Lab], wire: Wire) {
    this.free = free;
    this.gate = gate;
    this.limit = limit;
    this.wire = wire;
    this.policies = `${gate.directory}/policies`;
  }

  /** All labs, their servers, the rivals and an agent that enforces. On failure nothing is left. */
  static async up(signal: AbortSignal): Promise<Stage> {
    try {
      const make = (name: string) => makeLab(name, signal);
      const labs = await Promise.all([make(NAMES.free), make(NAMES.gate), make(NAMES.limit)]);
      const stage = new Stage(labs, await writeWire(`${labs[0].directory}/wire`));
      for (const lab of labs) await prepare(lab, stage.wire);
      await startRivals(stage.free);
      await stage.rivalsListen();
      mkdirSync(stage.policies, { recursive: true });
      await writeFile(`${stage.policies}/bench.yaml`, policyText());
      await stage.leaveRuleset();
      await stage.startAgent();
      return stage;
    } catch (error) {
      await Stage.clear();
      throw error;
    }
  }

  async rivalsListen(): Promise<void> {
    const listening = async () => must(inNetworkOnly(this.free.node(1).netns, ["ss", "-Hltn"]));
    const ports = Object.values(RIVAL_PORTS).flatMap((of) => Object.values(of));
    const all = async () => {
      const text = await listening();
      return ports.every((port) => text.includes(`:${port} `));
    };
    await until(all, "nginx, haproxy and squid", 20_000);
  }

  /** Removes all labs with everything that runs in them; works after any crash, and twice. */
  static async clear(): Promise<void> {
    await Promise.allSettled(Object.values(NAMES).map((name) => removeLab(name)));
  }

  async leaveRuleset(): Promise<void> {
    const config = await this.limit.configYaml(1, await this.config());
    const agent = await AgentProcess.start(this.limit, {
      ...{ node: 1, command: [SALLYPORT], policies: this.policies, config },
    });
    await crash(agent);
  }

  /** From now on a loop in C gives this answer to whatever is asked in the third lab. */
  async waveThrough(answer: LoopAnswer): Promise<void> {
    if (this.#loop?.answer === answer) return;
    await this.#loop?.of.stop();
    this.#loop = { answer, of: await QueueLoop.start(this.limit, answer, answer) };
  }

  /** Starts the gate with its flow log, and lets the client learn the addresses it will call. */
  async startAgent(environment: Readonly<Record<string, string>> = {}): Promise<AgentProcess> {
    const config = await this.gate.configYaml(1, await this.config());
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    this.agent = await AgentProcess.start(this.gate, {
      node: 1,
      command: ["env", ...variables, SALLYPORT],
      policies: this.policies,
      config,
    });
    await this.learn();
    return this.agent;
  }

  async stopAgent(): Promise<void> {
    await this.agent?.stop();
    this.agent = null;
  }

  /** The lab's own resolvers and the responder of the measurement. */
  async config(): Promise<Readonly<Record<string, unknown>>> {
    const dns = this.gate.pod(`${DNS_POD.namespace}/${DNS_POD.name}`).address;
    return { resolvers: [SERVICES.dns.ipv4, SERVICES.dns.ipv6, dns.ipv4, dns.ipv6, RESPONDER] };
  }

  async learn(): Promise<void> {
    const { stdout } = await this.gate.exec(CLIENT, ["dig", "+short", SITE, "A"]);
    if (stdout.trim() === "") throw new Error(`\`${SITE}\` does not resolve in the lab: is its resolver up?`);
  }

  /** Runs a program in the client's pod to its end; it is killed when its time is over. */
  async inClient(lab: Lab, argv: readonly string[], timeoutMs: number): Promise<string> {
    const result = await run(inNetworkOnly(lab.netns(CLIENT), argv), { timeoutMs });
    if (result.status === 0) return result.stdout;
    throw new Error(`\`${argv[0]}\` ended with ${result.status ?? result.signal}: ${result.stderr.trim()}`);
  }
}

async function makeLab(name: string, signal: AbortSignal): Promise<Lab> {
  const pods = [{ namespace: "bench-ns", name: "client", labels: { app: "client" }, node: 1 }];
  // Without address translation on the way out: it would make plain forwarding slower, and the gate look better.
  return createLab({ name, nodes: 1, pods, masquerade: false }, { signal });
}

/** Ends what the lab runs outside for its demo, opens what a load needs, starts the servers in C. */
async function prepare(lab: Lab, wire: Wire): Promise<void> {
  const outside = lab.netns("outside");
  for (const pid of await processesOf(outside, "nginx")) end(pid);
  await must(inNetworkOnly(outside, ["nft", "flush", "ruleset"]));
  await Promise.all([
    settings(lab.netns(CLIENT), ["net/ipv4/ip_local_port_range=1024 65535", "net/ipv4/tcp_tw_reuse=1"]),
    // A round must not meet what the one before left in the table.
    settings(lab.node(1).netns, [
      "net/ipv4/ip_local_port_range=10000 65535",
      "net/ipv4/tcp_tw_reuse=1",
      "net/netfilter/nf_conntrack_tcp_timeout_time_wait=1",
      "net/netfilter/nf_conntrack_udp_timeout=2",
      "net/netfilter/nf_conntrack_udp_timeout_stream=2",
      // The probe knows by the refusal that a change has come, a thousand times a second.
      "net/ipv4/icmp_ratelimit=0",
      "net/ipv4/icmp_msgs_per_sec=1000000",
    ]),
    settings(outside, ["net/ipv4/tcp_max_tw_buckets=4096"]),
    // The switch between node and outside is the lab's, no part of what is measured.
    settings(fabricNetns(lab.name), ["net/bridge/bridge-nf-call-iptables=0"]).catch(() => undefined),
  ]);
  const { tlsReply, httpReply, plainReply } = wire;
  const argv = [
    tool("serve"),
    `tcp=0.0.0.0:443=${tlsReply.path}`,
    `http=0.0.0.0:80=${httpReply.path}`,
    `bulk=0.0.0.0:8443=${tlsReply.path}`,
    `tcp=0.0.0.0:${PORTS.banner}=${plainReply.path}`,
    ...PORTS.datagrams.map((port) => `udp=${PARTNER}:${port}`),
    `udp=${PARTNER}:${PORTS.probe}`,
    `dns=${RESPONDER}:53`,
  ];
  await startServer(outside, argv, `${lab.directory}/log/serve.log`);
  await until(async () => (await readFile(`${lab.directory}/log/serve.log`, "utf8")).includes("ready"), "serve");
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // A worker whose master was asked before it.
  }
}

async function settings(netns: string, lines: readonly string[]): Promise<void> {
  const input = lines.map((line) => line.replace(/^(.*)=(.*)$/, "echo $2 >/proc/sys/$1\n")).join("");
  await must(inNetworkOnly(netns, ["sh", "-e", "-s"]), { input });
}

async function processesOf(netns: string, command: string): Promise<number[]> {
  const pids = (await must(["ip", "netns", "pids", netns])).trim().split("\n").filter(Boolean);
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")));
  return pids.filter((_, at) => commands[at]?.trim() === command).map(Number);
}

export async function until(holds: () => Promise<boolean>, what: string, limitMs = 5_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`\`${what}\` is not ready after ${limitMs} ms`);
    await pause(20);
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Ends an agent by a crash, which leaves the ruleset and frees the queues. */
export async function crash(agent: AgentProcess | null): Promise<void> {
  const pid = await agentPid(agent);
  await agent?.kill();
  await until(async () => !existsSync(`/proc/${pid}`), "the queue");
}

/** The process that gives the verdicts: an agent may be watched by a supervisor, whose child it is. */
export async function agentPid(agent: AgentProcess | null): Promise<number> {
  let pid = agent?.child.pid ?? 0;
  for (;;) {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    const child = Number(text.trim().split(" ")[0]);
    if (!child) return pid;
    pid = child;
  }
}

/** Threads of a process and the processor time each has used, nanoseconds. */
export async function threadTimes(pid: number): Promise<ReadonlyMap<number, number>> {
  const times = new Map<number, number>();
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0");
    times.set(Number(thread), Number(text.split(" ")[0]));
  }
  return times;
}
