import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseLine } from "../../src/flow/line.ts";
import type { FlowRecord } from "../../src/flow/record.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import type { ConfigOverrides } from "../../src/lab/documents.ts";
import { createLab, type Lab } from "../../src/lab/lab.ts";
import type { PodSpec } from "../../src/lab/layout.ts";

const SOURCES = join(import.meta.dirname, "../../src/cli/main.ts");
const SCRIPTS = import.meta.dirname;

/** What most of these tests enforce: `rules` (YAML, four spaces deep) for the pods of `app-ns`, and nothing else. */
export function appPolicy(rules: string): string {
  return `
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: { name: app }
spec:
  tier: Admin
  priority: 1
  defaultDeny: true
  subject: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: app-ns } } }
  rules:
${rules}`;
}

/** A lab of one node whose agent is started, stopped and killed by the test. The agent runs from the sources. */
export class AgentLab {
  readonly lab: Lab;
  readonly policies: string;
  agent: AgentProcess | null = null;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.policies = join(lab.directory, "policies");
  }

  /** `policies`: name of a file and its text. */
  static async up(
    name: string,
    options: { readonly policies: Readonly<Record<string, string>>; readonly pods: readonly PodSpec[] },
  ): Promise<AgentLab> {
    const lab = await createLab({ name, nodes: 1, pods: options.pods });
    const world = new AgentLab(lab);
    mkdirSync(world.policies);
    for (const [file, text] of Object.entries(options.policies)) world.write(file, text);
    return world;
  }

  get flows(): string {
    return join(this.lab.directory, "flows.jsonl");
  }

  /** Writes a policy file; null takes it away. */
  write(file: string, text: string | null): void {
    const path = join(this.policies, file);
    if (text === null) rmSync(path);
    else writeFileSync(path, text);
  }

  /** `more`: further words of the command line. */
  async start(config: ConfigOverrides = {}, flows = this.flows, more: readonly string[] = []): Promise<AgentProcess> {
    this.agent = await AgentProcess.start(this.lab, {
      node: 1,
      command: [process.execPath, SOURCES],
      policies: this.policies,
      config: await this.lab.configYaml(1, config),
      flows,
      more,
    });
    return this.agent;
  }

  /** What the flow log holds now, oldest first. */
  records(path = this.flows): FlowRecord[] {
    try {
      return readFileSync(path, "utf8")
        .split("\n")
        .flatMap((line) => parseLine(line) ?? []);
    } catch {
      return [];
    }
  }

  /** Waits until `take` finds something. @throws Error that names what was waited for */
  async until<T>(
    what: string,
    take: () => Promise<T | null | undefined | false> | T | null | undefined | false,
    ms = 8_000,
  ): Promise<T> {
    const deadline = performance.now() + ms;
    for (;;) {
      const found = await take();
      if (found !== null && found !== undefined && found !== false) return found;
      if (performance.now() > deadline) throw new Error(`no ${what} within ${ms} ms; ${this.agent?.lastWords() ?? ""}`);
      await sleep(25);
    }
  }

  /** Writes workloads or documents and waits until the agent enforces them. */
  async applied(change: () => unknown): Promise<void> {
    this.agent?.forgetLog();
    await change();
    await this.agent?.event("applied", 30_000);
  }

  /** Status code of one request, or what curl said. */
  async get(pod: string, url: string, ...more: string[]): Promise<string> {
    const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "6", ...more, url];
    const { status, stdout } = await this.lab.exec(pod, argv);
    return status === 0 ? stdout : `curl ${status}`;
  }

  /**
   * What arrived outside for addresses that nothing allows: TCP segments with payload, and packets. A handshake on port
   * 443 does not count: where a rule by name may still decide, it has to pass.
   */
  async leaked(...addresses: readonly string[]): Promise<{ packets: number; payload: number }> {
    const arrivals = (await this.lab.outsideSaw()).filter(({ address }) => addresses.includes(address));
    const others = arrivals.filter(({ protocol, port }) => protocol !== "tcp" || port !== 443);
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
    return {
      packets: sum(others.map(({ packets }) => packets)),
      payload: sum(arrivals.map(({ withPayload }) => withPayload)),
    };
  }

  /** Runs a script of this folder in a pod. */
  script(pod: string, name: string, ...parameters: string[]): ReturnType<Lab["spawn"]> {
    return this.lab.spawn(pod, [process.execPath, join(SCRIPTS, name), ...parameters], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  async down(): Promise<void> {
    await this.agent?.stop(2_000).catch(() => undefined);
    await this.lab.destroy();
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
