import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OUTSIDE } from "../../src/lab/addresses.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import { createLab, type Lab } from "../../src/lab/lab.ts";
import { appPolicy } from "../support/agent-lab.ts";
import { type ProbeFigures, quantile, type TrafficFigures, type TrafficPlan } from "./figures.ts";

const SUPPORT = join(import.meta.dirname, "../support");
const APP = "app-ns/app";
const WILD = "app-ns/wild";
const EVIL = OUTSIDE.evil;
const PARTNER = OUTSIDE.partner.ipv4;
const READY_LIMIT_MS = 20_000;

const POLICY = appPolicy(`    - name: github
      action: Allow
      to: [{ domains: ["*.github.com"], ports: [{ protocol: TCP, port: 443 }] }]
    - name: partner
      action: Allow
      to: [{ cidrs: [${PARTNER}/32], ports: [{ protocol: TCP, port: 8443 }] }]
`);

const TRAFFIC: TrafficPlan = {
  downloads: [
    ...["api", "raw", "gist"].map((host) => `https://${host}.github.com/slow`),
    ...[`https://${PARTNER}:8443/slow`, `https://${PARTNER}:8443/slow`],
  ],
  probes: ["https://pages.github.com/", `https://${PARTNER}:8443/`],
  everyMs: 250,
};

export interface KillLoopOptions {
  readonly seconds: number;
  /** Between two kills; default a second. */
  readonly everyMs?: number;
  /** How the agent is run: program and first arguments. */
  readonly command: readonly string[];
  readonly name: string;
  readonly say?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface KillLoopFigures {
  readonly kills: { readonly agent: number; readonly supervisor: number; readonly beforeReady: number };
  /** From the kill to `ready`, of the restarts that came so far before the next kill. */
  readonly restartMs: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };
  readonly traffic: TrafficFigures;
  readonly brokenFlows: number;
  readonly leaked: { readonly packets: number; readonly payload: number; readonly what: readonly string[] };
  /** Denied connections that were tried meanwhile and got through: must be none. */
  readonly deniedConnected: number;
}

/**
 * Kills the agent with SIGKILL at a fixed beat, in turn its child and its supervisor (which takes the child with it, and is
 * started again at once, as a kubelet or systemd does), while a pod downloads, connects anew, and another one tries what
 * is denied. Brings up its own lab and takes it down.
 */
export async function killLoop(options: KillLoopOptions): Promise<KillLoopFigures> {
  const lab = await createLab(
    { name: options.name, nodes: 1, pods: ["app", "wild"].map((name) => ({ namespace: "app-ns", name })) },
    { endWithProcess: true },
  );
  try {
    return await new KillLoop(lab, options).run();
  } finally {
    await lab.destroy();
  }
}

class KillLoop {
  readonly #lab: Lab;
  readonly #options: KillLoopOptions;
  readonly #kills = { agent: 0, supervisor: 0, beforeReady: 0 };
  readonly #restarts: number[] = [];
  #agent: AgentProcess | null = null;
  /** The start that is under way. */
  #starting: Promise<unknown> = Promise.resolve();
  #ready = false;

  constructor(lab: Lab, options: KillLoopOptions) {
    this.#lab = lab;
    this.#options = options;
  }

  async run(): Promise<KillLoopFigures> {
    mkdirSync(join(this.#lab.directory, "policies"));
    writeFileSync(join(this.#lab.directory, "policies/app.yaml"), POLICY);
    await this.#start(performance.now());
    const app = this.#traffic();
    const seconds = String(this.#options.seconds + 2);
    const argv = [process.execPath, join(SUPPORT, "flood.ts"), seconds, EVIL.ipv4, EVIL.ipv6];
    const wild = this.#lab.spawn(WILD, argv, { stdio: ["ignore", "pipe", "ignore"] });
    const wildSaid = textOf(wild.stdout);
    // Downloads begin, names are learned.
    await pause(3_000);
    await this.#lab.forgetOutside();
    await this.#killing();
    await this.#starting;
    // What broke in the last moment shows.
    await pause(2_000);
    app.child.kill("SIGTERM");
    await once(app.child, "exit");
    if (wild.exitCode === null) await once(wild, "exit");
    const traffic = JSON.parse(await app.said) as TrafficFigures;
    const { connected } = JSON.parse(await wildSaid) as { connected: number };
    await this.#agent?.stop();
    return {
      kills: this.#kills,
      restartMs: {
        count: this.#restarts.length,
        p50: quantile(this.#restarts, 0.5),
        p99: quantile(this.#restarts, 0.99),
        max: Math.max(...this.#restarts),
      },
      traffic,
      brokenFlows: traffic.downloads.reduce((sum, { broken }) => sum + broken, 0),
      leaked: await this.#leaked(),
      deniedConnected: connected,
    };
  }

  #traffic() {
    const argv = [process.execPath, join(import.meta.dirname, "traffic.ts"), JSON.stringify(TRAFFIC)];
    const child = this.#lab.spawn(APP, argv, { stdio: ["ignore", "pipe", "inherit"] });
    return { child, said: textOf(child.stdout) };
  }

  async #killing(): Promise<void> {
    const { seconds, everyMs = 1_000, say, signal } = this.#options;
    const begun = performance.now();
    for (let kill = 1; kill * everyMs <= seconds * 1_000; kill++) {
      await pause(begun + kill * everyMs - performance.now());
      signal?.throwIfAborted();
      if (!this.#ready) this.#kills.beforeReady++;
      if (kill % 2 === 0) await this.#killSupervisor();
      else this.#killAgent();
      if (kill % 30 === 0) say?.(`${kill} kills, restart p50 ${Math.round(quantile(this.#restarts, 0.5))} ms`);
    }
  }

  /** The child of the supervisor: it is the supervisor's to start another. */
  #killAgent(): void {
    const agent = this.#agent;
    const pid = childOf(agent?.child.pid ?? 0);
    // Killed while there is none: the one before has not been replaced yet.
    if (agent === null || pid === 0) return;
    agent.forgetLog();
    this.#ready = false;
    const killed = performance.now();
    process.kill(pid, "SIGKILL");
    this.#kills.agent++;
    this.#starting = this.#awaitReady(agent, killed);
  }

  async #killSupervisor(): Promise<void> {
    this.#ready = false;
    const killed = performance.now();
    await this.#agent?.kill();
    this.#kills.supervisor++;
    this.#starting = this.#start(killed).catch((error: Error) => this.#options.say?.(error.message));
  }

  async #awaitReady(agent: AgentProcess, since: number): Promise<void> {
    const line = await agent.event("ready", READY_LIMIT_MS).catch(() => null);
    // Another kill came first, or a new supervisor.
    if (line === null || agent !== this.#agent) return;
    this.#ready = true;
    this.#restarts.push(Date.parse(String(line["time"])) - performance.timeOrigin - since);
  }

  async #start(since: number): Promise<void> {
    const agent = AgentProcess.spawn(this.#lab, {
      node: 1,
      command: this.#options.command,
      policies: join(this.#lab.directory, "policies"),
      config: await this.#lab.configYaml(1),
      more: ["--listen", "off"],
    });
    this.#agent = agent;
    await this.#awaitReady(agent, since);
  }

  /** As in the other tests: a handshake with port 443 is let through where a name may still decide; what was said on it is not. */
  async #leaked(): Promise<KillLoopFigures["leaked"]> {
    const seen = (await this.#lab.outsideSaw()).filter(({ address }) => address === EVIL.ipv4 || address === EVIL.ipv6);
    const others = seen.filter(({ protocol, port }) => protocol !== "tcp" || port !== 443);
    return {
      packets: others.reduce((sum, { packets }) => sum + packets, 0),
      payload: seen.reduce((sum, { withPayload }) => sum + withPayload, 0),
      what: others.map(({ protocol, port, address, packets }) => `${packets} ${protocol} ${port ?? ""} ${address}`),
    };
  }
}

/** One line a figure. */
export function killLoopText(figures: KillLoopFigures): string {
  const { kills, restartMs, traffic, leaked } = figures;
  const probe = (of: ProbeFigures) =>
    `new connections   ${of.url}: ${of.ok} of ${of.asked} clients, ${of.okAtOnce} at the first try, ${of.attempts} attempts; p50 ${quantile(of.times, 0.5)} ms, p99 ${quantile(of.times, 0.99)} ms; longest gap ${of.longestGapMs} ms`;
  return [
    `kills             ${kills.agent} of the agent, ${kills.supervisor} of its supervisor; ${kills.beforeReady} before it was ready again`,
    `restart           p50 ${Math.round(restartMs.p50)} ms, p99 ${Math.round(restartMs.p99)} ms, longest ${Math.round(restartMs.max)} ms, of the ${restartMs.count} that were ready before the next kill`,
    ...traffic.downloads.map(
      (of) =>
        `download          ${of.url}: ${of.bytes} bytes, ${of.begun} begun, ${of.complete} complete, ${of.broken} broken, longest silence ${of.longestSilenceMs} ms`,
    ),
    ...traffic.probes.map(probe),
    `broken flows      ${figures.brokenFlows}`,
    `leaked            ${[`${leaked.packets} packets, ${leaked.payload} with payload`, ...leaked.what].join("; ")}`,
    "",
  ].join("\n");
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = "";
  for await (const piece of stream ?? []) text += String(piece);
  return text;
}

function childOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ")[0]);
  } catch {
    return 0;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
