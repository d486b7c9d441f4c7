import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Wire, writeWire } from "../../bench/wire.ts";
import { GATEWAY, OUTSIDE, POOL, SERVICES } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import { createLab, type Lab } from "../../src/lab/lab.ts";
import { inNetworkOnly, must, run, startServer } from "../../src/lab/process.ts";
import { type Reading, readMetrics } from "../support/agent-metrics.ts";

const ROOT = join(import.meta.dirname, "../..");
const TOOLS = join(ROOT, ".cache/bench");
export const LOAD = "soak-ns/load";
export const NAMES = "soak-ns/names";
/** Answers every question; the gate trusts it as a resolver. */
export const RESPONDER = GATEWAY.ipv4;
const PARTNER = OUTSIDE.partner.ipv4;
const PORTS = { hello: 9443, plain: 9100 } as const;

/** Rules enough to make a change worth something; `round` tells one version from the next. */
export function policyText(round: number): string {
  const filler = Array.from(
    { length: 20 + (round % 5) },
    (_, i) => `    - { name: other-${i}, action: Allow, to: [{ domains: ["*.r${round}s${i}.example"] }] }`,
  );
  return `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: soak }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: soak-ns } } }
  rules:
${filler.join("\n")}
    - { name: github, action: Allow, to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: ${PORTS.hello} }] }] }
    - { name: partner, action: Allow, to: [{ cidrs: [${PARTNER}/32], ports: [{ protocol: TCP, port: ${PORTS.plain} }] }] }
`;
}

/** Settings by which a flow that is over leaves the kernel's table soon: a node has them longer, but not so many a second. */
const QUICK = [
  "net/ipv4/ip_local_port_range=1024 65535",
  "net/ipv4/tcp_tw_reuse=1",
  "net/netfilter/nf_conntrack_tcp_timeout_time_wait=1",
  "net/netfilter/nf_conntrack_udp_timeout=2",
  "net/netfilter/nf_conntrack_udp_timeout_stream=2",
];

/** What a generator of load did in one go. */
export interface LoadDone {
  readonly done: number;
  readonly failed: number;
}

/** A lab, its servers and an agent, for a load that goes on for long. */
export class SoakWorld {
  readonly lab: Lab;
  readonly agent: AgentProcess;
  readonly #wire: Wire;
  readonly #socket: string;

  private constructor(lab: Lab, agent: AgentProcess, wire: Wire, socket: string) {
    this.lab = lab;
    this.agent = agent;
    this.#wire = wire;
    this.#socket = socket;
  }

  /** @throws Error one line for the user */
  static async up(name: string, command: readonly string[]): Promise<SoakWorld> {
    for (const tool of ["load", "serve"] as const) await compile(tool);
    const pods = ["load", "names"].map((pod) => ({ namespace: "soak-ns", name: pod }));
    const lab = await createLab({ name, nodes: 1, pods, masquerade: false }, { endWithProcess: true });
    try {
      const wire = await writeWire(`${lab.directory}/wire`);
      await serve(lab, wire);
      mkdirSync(`${lab.directory}/policies`);
      writeFileSync(`${lab.directory}/policies/soak.yaml`, policyText(0));
      const socket = `${lab.directory}/agent.sock`;
      const dns = lab.pod("kube-system/dns").address;
      const resolvers = [SERVICES.dns.ipv4, SERVICES.dns.ipv6, dns.ipv4, dns.ipv6, RESPONDER];
      const agent = await AgentProcess.start(lab, {
        node: 1,
        command,
        policies: `${lab.directory}/policies`,
        config: await lab.configYaml(1, { resolvers }),
        more: ["--listen", `unix:${socket}`, "--flows-max-size", "8M", "--flows-keep", "1"],
      });
      await must(inNetworkOnly(lab.netns(LOAD), ["dig", `@${SERVICES.dns.ipv4}`, "+short", "pool.github.com", "A"]));
      return new SoakWorld(lab, agent, wire, socket);
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  changePolicy(round: number): void {
    writeFileSync(`${this.lab.directory}/policies/soak.yaml`, policyText(round));
  }

  /** New connections for so long, by name (a TLS hello) or by address. */
  async connections(kind: "name" | "address", seconds: number, most: number): Promise<LoadDone> {
    const [request, reply, targets] =
      kind === "name"
        ? [this.#wire.hello, this.#wire.tlsReply, POOL.map(({ ipv4 }) => `${ipv4}:${PORTS.hello}`)]
        : [this.#wire.ping, this.#wire.plainReply, [`${PARTNER}:${PORTS.plain}`]];
    const words = ["tcp", String(seconds), String(most), "8", request.path, String(reply.length), ...targets];
    const argv = inNetworkOnly(this.lab.netns(LOAD), [join(TOOLS, "load"), ...words]);
    const { status, stdout, stderr } = await run(argv, { timeoutMs: seconds * 1000 + 20_000 });
    if (status !== 0) throw new Error(`the load generator ended with ${status}: ${stderr.trim()}`);
    return JSON.parse(stdout) as LoadDone;
  }

  /** A pod with an address that others had before: lives for a moment, connects once, and goes. True when it got through. */
  async passer(round: number): Promise<boolean> {
    const target = `soak-ns/passer${round}`;
    await this.lab.addPod({ namespace: "soak-ns", name: `passer${round}` }, { host: 200 + (round % 4) });
    try {
      const words = ["sh", "-c", `echo hello | timeout 6 nc -w 3 ${PARTNER} ${PORTS.plain} | head -c 4`];
      return (await this.lab.exec(target, words)).stdout.length === 4;
    } finally {
      await this.lab.removePod(target);
    }
  }

  metrics(): Promise<Reading> {
    return readMetrics(this.#socket);
  }

  /** The agent's own process, not its supervisor's. */
  get pid(): number {
    const { pid } = this.agent.child;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ")[0]) || (pid ?? 0);
  }

  async down(): Promise<void> {
    await this.agent.stop();
    await this.lab.destroy();
  }
}

async function serve(lab: Lab, wire: Wire): Promise<void> {
  const outside = lab.netns("outside");
  for (const netns of [outside, lab.node(1).netns, lab.netns(LOAD)]) {
    // Not every namespace has every one of them.
    const input = QUICK.map((line) => line.replace(/^(.*)=(.*)$/, "echo $2 2>/dev/null >/proc/sys/$1 || true\n")).join(
      "",
    );
    await must(inNetworkOnly(netns, ["sh", "-s"]), { input });
  }
  const words = [
    `tcp=0.0.0.0:${PORTS.hello}=${wire.tlsReply.path}`,
    `tcp=0.0.0.0:${PORTS.plain}=${wire.plainReply.path}`,
  ];
  await start(lab, "serve", [join(TOOLS, "serve"), ...words]);
  await start(lab, "responder", [process.execPath, join(import.meta.dirname, "responder.ts"), RESPONDER]);
}

/** A server outside that says `ready` when it is. */
async function start(lab: Lab, name: string, argv: readonly string[]): Promise<void> {
  const log = `${lab.directory}/log/${name}.log`;
  await startServer(lab.netns("outside"), argv, log);
  for (let tries = 0; !readFileSync(log, "latin1").includes("ready"); tries++) {
    if (tries > 100) throw new Error(`\`${name}\` does not come up: see whether its ports are taken`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function compile(tool: "load" | "serve"): Promise<void> {
  const out = join(TOOLS, tool);
  if (existsSync(out)) return;
  mkdirSync(dirname(out), { recursive: true });
  await must(["gcc", "-O2", "-o", out, join(ROOT, `bench/load/${tool}.c`)], { timeoutMs: 60_000 });
}
