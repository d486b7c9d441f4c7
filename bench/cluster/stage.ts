/** A real API server filled with a large cluster, one node of it real: its network is the lab's. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inNetworkOnly, must, startServer } from "../../src/lab/process.ts";
import { KubeLab } from "../../test/support/kube-lab.ts";
import { clientPolicy } from "../scale-objects.ts";
import { PARTNER, PORTS, pause, ROOT, SALLYPORT, tool, until } from "../stage.ts";
import type { ClusterSize } from "./objects.ts";

export interface Filled {
  readonly what: string;
  readonly count: number;
  readonly seconds: number;
}

const FILL_MS = 45 * 60_000;
const CONTROLLER_PORT = 9465;
const NAME = `bk${process.pid % 100_000}`;

export class ClusterStage {
  readonly kube: KubeLab;
  readonly size: ClusterSize;
  readonly netns: string;
  readonly #children: ChildProcess[] = [];

  private constructor(kube: KubeLab, size: ClusterSize) {
    this.kube = kube;
    this.size = size;
    this.netns = kube.world.lab.node(1).netns;
  }

  /** The lab, its API server, and what answers the probe outside. */
  static async up(size: ClusterSize): Promise<ClusterStage> {
    const pods = [{ namespace: "bench-ns", name: "client", labels: { app: "client" }, node: 1 }];
    const kube = await KubeLab.up(NAME, pods);
    const stage = new ClusterStage(kube, size);
    try {
      await stage.#outside();
      await kube.api.apply(clientPolicy(false));
      return stage;
    } catch (error) {
      await stage.down();
      throw error;
    }
  }

  async down(): Promise<void> {
    for (const child of this.#children) child.kill("SIGTERM");
    await this.kube.world.agent?.stop();
    this.kube.world.agent = null;
    await this.kube.down();
  }

  async #outside(): Promise<void> {
    const { lab } = this.kube.world;
    const outside = lab.netns("outside");
    await must(inNetworkOnly(outside, ["nft", "flush", "ruleset"]));
    // The probe knows by the refusal that a change has come, a thousand times a second.
    const input = "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit\necho 1000000 >/proc/sys/net/ipv4/icmp_msgs_per_sec\n";
    await must(inNetworkOnly(this.netns, ["sh", "-e", "-s"]), { input });
    await startServer(outside, [tool("serve"), `udp=${PARTNER}:${PORTS.probe}`], `${lab.directory}/log/serve.log`);
  }

  /** One of this folder's programs, beside the API server. `words` follow the kubeconfig of an administrator. */
  start(program: string, words: readonly (string | number)[]): Program {
    const script = join(ROOT, "bench/cluster", program);
    const argv = [process.execPath, script, this.kube.api.kubeconfig, ...words.map(String)];
    return new Program(this.#spawn(argv));
  }

  get sizeWords(): readonly number[] {
    const { nodes, pods, namespaces } = this.size;
    return [nodes, pods, namespaces];
  }

  #spawn(argv: readonly string[]): ChildProcess {
    const [program = "", ...rest] = inNetworkOnly(this.netns, argv);
    const child = spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  async fill(say: (line: string) => void): Promise<Filled[]> {
    const filling = this.start("fill.ts", this.sizeWords);
    const all: Filled[] = [];
    const giveUp = setTimeout(() => filling.child.kill("SIGTERM"), FILL_MS);
    for (let line = await filling.line(); line !== null; line = await filling.line()) {
      const filled = JSON.parse(line) as Filled;
      all.push(filled);
      say(`${filled.count} ${filled.what} made in ${filled.seconds.toFixed(1)} s`);
    }
    clearTimeout(giveUp);
    const status = await filling.ended;
    if (status !== 0) throw new Error(`filling the API server ended with ${status}`);
    return all;
  }

  /** A controller, beside the API server. */
  startController(): ChildProcess {
    const { kubeconfig } = this.kube.api;
    const listen = `127.0.0.1:${CONTROLLER_PORT}`;
    const argv = [SALLYPORT, "controller", "--kubeconfig", kubeconfig, "--namespace", "sallyport", "--listen", listen];
    const child = this.#spawn(argv);
    child.stdout?.resume();
    return child;
  }

  /** A figure of the controller's metrics; NaN: it does not say. */
  async controllerMetric(name: string): Promise<number> {
    return metric(await this.get(`http://127.0.0.1:${CONTROLLER_PORT}/metrics`), name);
  }

  /** A figure of the agent's metrics. */
  async agentMetric(name: string): Promise<number> {
    return metric(await this.get("http://127.0.0.1:9464/metrics"), name);
  }

  /** Empty: no answer. */
  async get(url: string): Promise<string> {
    return must(inNetworkOnly(this.netns, ["curl", "-s", "-m", "5", url])).catch(() => "");
  }

  /** The process of the API server. */
  async processOf(command: string): Promise<number> {
    const pids = (await must(["ip", "netns", "pids", this.netns])).trim().split("\n").map(Number);
    for (const pid of pids) {
      const comm = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
      if (comm.trim() === command.slice(0, 15)) return pid;
    }
    throw new Error(`no \`${command}\` runs`);
  }

  /** Bytes that a process has received over its TCP connections that are open now. */
  async received(pid: number): Promise<number> {
    const text = await must(inNetworkOnly(this.netns, ["ss", "-Htnpi", "state", "established"]));
    let sum = 0;
    const lines = text.split("\n");
    for (const [at, line] of lines.entries()) {
      if (!line.includes(`pid=${pid},`)) continue;
      sum += Number(/bytes_received:(\d+)/.exec(lines[at + 1] ?? "")?.[1] ?? 0);
    }
    return sum;
  }

  /** Changes of the policy of the client's pod with no traffic beside them, two a second. */
  async quietChanges(count: number): Promise<void> {
    const driver = this.start("driver.ts", this.sizeWords);
    for (let i = 0; i < count; i++) {
      await driver.ask(patchOfClient(i % 2 === 0));
      await pause(500);
    }
    driver.child.stdin?.end();
  }

  /** Changes of the policy of the client's pod, as the probe sees them: from the request's sending to the first flow. */
  async changes(count: number, say: (line: string) => void): Promise<number[]> {
    const seconds = count + 60;
    const argv = [tool("probe"), String(seconds), "1000", `${PARTNER}:${PORTS.probe}`];
    const client = inNetworkOnly(this.kube.world.lab.netns("bench-ns/client"), argv);
    const child = spawn(client[0]!, client.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    const seen: { readonly at: number; readonly open: boolean }[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [at, outcome] = line.split(" ");
      seen.push({ at: Number(at) / 1e6, open: outcome === "open" });
    });
    const driver = this.start("driver.ts", this.sizeWords);
    const times: number[] = [];
    await pause(500);
    for (let i = 0; i < count; i++) {
      const open = i % 2 === 0;
      const known = seen.length;
      const { sent } = await driver.ask<{ sent: number }>(patchOfClient(open));
      const first = () => seen.slice(known).find((one) => one.open === open);
      await until(async () => first() !== undefined, "the changed policy", 15_000);
      times.push(first()!.at - sent);
      if (i % 10 === 9) say(`${i + 1} changes; the last was enforced after ${times.at(-1)!.toFixed(0)} ms`);
      await pause(300 + Math.random() * 400);
    }
    driver.child.stdin?.end();
    child.kill("SIGTERM");
    return times;
  }
}

function patchOfClient(open: boolean): string {
  const { spec } = clientPolicy(open) as { spec: object };
  const path = "/apis/sallyport.dev/v1alpha1/namespaces/bench-ns/egresspolicies/client";
  return `patch ${path} ${JSON.stringify({ spec })}`;
}

/** A program that is spoken to line by line. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    this.child = child;
    this.ended = new Promise((resolve) => child.once("exit", resolve));
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** The next line; null: it has ended. */
  async line(): Promise<string | null> {
    const { value, done } = await this.#lines.next();
    return done === true ? null : value;
  }

  async ask<T>(command: string): Promise<T> {
    this.child.stdin?.write(`${command}\n`);
    const line = await this.line();
    if (line === null) throw new Error(`no answer to \`${command.slice(0, 80)}\``);
    return JSON.parse(line) as T;
  }
}

function metric(text: string, name: string): number {
  const line = text.split("\n").find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}{`));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

const MIB = 1024;

/** Resident memory of a process, MiB: now, or the most there ever was. */
export async function resident(pid: number, field: "VmRSS" | "VmHWM" = "VmRSS"): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1] ?? Number.NaN) / MIB;
}

/** Processor time of all threads of a process, seconds. */
export async function processorSeconds(pid: number): Promise<number> {
  let sum = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0");
    sum += Number(text.split(" ")[0]) / 1e9;
  }
  return sum;
}
