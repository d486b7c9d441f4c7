import { join } from "node:path";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import type { ConfigOverrides } from "../../src/lab/documents.ts";
import { inNetworkOnly, run } from "../../src/lab/process.ts";
import { AgentLab, appPolicy } from "./agent-lab.ts";
import { ask, type Reading, readMetrics } from "./agent-metrics.ts";

const SOURCES = join(import.meta.dirname, "../../src/cli/main.ts");
export const APP = "app-ns/app";
export const OTHER = "app-ns/other";
export const EVIL = OUTSIDE.evil;
export const PARTNER = OUTSIDE.partner.ipv4;

/** By name, and by address; what nothing allows is denied. */
export const POLICY = appPolicy(`    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [${PARTNER}/32], ports: [{ protocol: TCP, port: 8443 }, { protocol: UDP, port: 9000, endPort: 9099 }] }]
`);

export interface FaultStart {
  readonly config?: ConfigOverrides;
  readonly flows?: string;
  readonly state?: string;
  /** Variables of the agent's environment, on top of this process's. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Default true. */
  readonly supervised?: boolean;
  readonly more?: readonly string[];
}

/** A lab of one node with two pods and an agent that is about to meet with trouble. */
export class FaultLab {
  readonly world: AgentLab;
  readonly socket: string;

  private constructor(world: AgentLab) {
    this.world = world;
    this.socket = join(world.lab.directory, "agent.sock");
  }

  static async up(letters: string): Promise<FaultLab> {
    return new FaultLab(
      await AgentLab.up(`${letters}${process.pid % 10_000}`, {
        policies: { "app.yaml": POLICY },
        pods: ["app", "other"].map((name) => ({ namespace: "app-ns", name })),
      }),
    );
  }

  async start(options: FaultStart = {}): Promise<AgentProcess> {
    const { lab, policies } = this.world;
    const variables = Object.entries(options.environment ?? {}).map(([name, value]) => `${name}=${value}`);
    this.world.agent = await AgentProcess.start(lab, {
      node: 1,
      command: ["env", ...variables, process.execPath, SOURCES],
      policies,
      config: await lab.configYaml(1, options.config ?? {}),
      flows: options.flows ?? this.world.flows,
      ...(options.state === undefined ? {} : { state: options.state }),
      more: [
        ...["--listen", `unix:${this.socket}`],
        ...(options.supervised === false ? ["--no-supervise"] : []),
        ...(options.more ?? []),
      ],
    });
    await this.ready();
    return this.world.agent;
  }

  /** Ends the agent and takes its rules away: who was policed by them is policed by those of the next agent, too, and stays in its counts. */
  async clear(): Promise<void> {
    await this.world.agent?.stop(2_000).catch(() => undefined);
    await run(inNetworkOnly(this.world.lab.node(1).netns, ["nft", "delete", "table", "inet", "sallyport"]));
  }

  metrics(): Promise<Reading> {
    return readMetrics(this.socket);
  }

  ready(ms = 10_000): Promise<true> {
    return this.world.until("readiness", () => this.isReady(), ms);
  }

  async isReady(): Promise<boolean> {
    const answer = await ask(this.socket, "/readyz").catch(() => null);
    return answer?.status === 200;
  }

  /** A new connection that an address rule allows, or that a name rule does. */
  byAddress(pod = APP, patience = "3"): Promise<string> {
    return this.world.get(pod, `https://${PARTNER}:8443/`, "-k", "-m", patience);
  }

  byName(pod = APP, host = "api", patience = "4"): Promise<string> {
    return this.world.get(pod, `https://${host}.github.com/`, "-k", "-4", "-m", patience);
  }

  /** What is denied is refused, and nothing of it got outside since `forgetOutside`. */
  async closed(pod = APP): Promise<boolean> {
    const answers = await Promise.all([
      this.world.get(pod, `https://${EVIL.ipv4}:8443/`, "-k", "-m", "1"),
      this.world.get(pod, `http://${EVIL.ipv4}/`, "-m", "1"),
      this.world.get(pod, "https://evil.example/", "-k", "-4", "-m", "1"),
    ]);
    const { packets, payload } = await this.world.leaked(EVIL.ipv4, EVIL.ipv6);
    return packets + payload === 0 && answers.every((answer) => answer !== "200");
  }

  /** A download that goes on for minutes. */
  download(pod = APP, url = `https://${PARTNER}:8443/slow`) {
    const child = this.world.lab.spawn(pod, ["curl", "-sSkN", "-4", "-m", "110", "-o", "/dev/null", url], {
      stdio: "ignore",
    });
    return { runs: () => child.exitCode === null && child.signalCode === null, stop: () => child.kill("SIGKILL") };
  }

  async down(): Promise<void> {
    await this.world.down();
  }
}
