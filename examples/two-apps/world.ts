import { cpSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseLine } from "../../src/flow/line.ts";
import type { FlowRecord } from "../../src/flow/record.ts";
import { AgentProcess } from "../../src/lab/agent-process.ts";
import type { ConfigOverrides } from "../../src/lab/documents.ts";
import { createLab, type Lab } from "../../src/lab/lab.ts";
import { scenario } from "../../src/lab/scenario.ts";

export const EXAMPLE = dirname(fileURLToPath(import.meta.url));
const SALLYPORT = join(EXAMPLE, "../../bin/sallyport");

export interface WorldOptions {
  readonly name: string;
  readonly nodes?: number;
  readonly config?: ConfigOverrides;
  /** Folder of policy documents; default: those of this example. It is copied, so that it may be edited. */
  readonly policies?: string;
  /** How an agent is started; default: `bin/sallyport`. */
  readonly command?: readonly string[];
  readonly signal?: AbortSignal;
}

/** The lab with its agents: what the demo and the tests run on. */
export class World {
  readonly lab: Lab;
  /** Edit the documents in here; the agents watch it. */
  readonly policies: string;
  readonly agents: AgentProcess[] = [];
  readonly #command: readonly string[];

  private constructor(lab: Lab, policies: string, command: readonly string[]) {
    this.lab = lab;
    this.#command = command;
    this.policies = policies;
  }

  /** Brings up the lab and an agent on each node, enforcing. On failure nothing is left. @throws Error one line for the user */
  static async up(options: WorldOptions): Promise<World> {
    const { name, nodes = 2, signal } = options;
    const ends = { endWithProcess: true };
    const lab = await createLab(scenario("two-apps", name, nodes), signal === undefined ? ends : { ...ends, signal });
    const policies = join(lab.directory, "policies");
    const world = new World(lab, policies, options.command ?? [SALLYPORT]);
    try {
      mkdirSync(policies, { recursive: true });
      cpSync(options.policies ?? join(EXAMPLE, "policies"), policies, { recursive: true });
      await Promise.all(lab.layout.nodes.map((node) => world.startAgent(node.index, options.config ?? {})));
      return world;
    } catch (error) {
      await world.down();
      throw error;
    }
  }

  async startAgent(node: number, config: ConfigOverrides = {}): Promise<AgentProcess> {
    const agent = await AgentProcess.start(this.lab, {
      node,
      command: this.#command,
      policies: this.policies,
      config: await this.lab.configYaml(node, config),
    });
    this.agents[node - 1] = agent;
    return agent;
  }

  agentOf(pod: string): AgentProcess {
    return this.agents[this.lab.pod(pod).node - 1] as AgentProcess;
  }

  /** The size of a pod's flow log now: what `recordsSince` starts at. */
  mark(pod: string): number {
    try {
      return statSync(this.agentOf(pod).flows).size;
    } catch {
      return 0;
    }
  }

  /** Records of a pod's flows written after `mark`. The log is written a moment behind the verdict. */
  async recordsSince(pod: string, mark: number): Promise<FlowRecord[]> {
    await new Promise((resolve) => setTimeout(resolve, 150));
    const [namespace, name] = pod.split("/");
    let text: string;
    try {
      text = readFileSync(this.agentOf(pod).flows).subarray(mark).toString("utf8");
    } catch {
      return [];
    }
    const records = text.split("\n").flatMap((line) => parseLine(line) ?? []);
    return records.filter(({ workload }) => workload?.namespace === namespace && workload?.name === name);
  }

  /** Lets the lab and its agents go on when this process ends. */
  keep(): void {
    for (const agent of this.agents) agent.detach();
    this.lab.keep();
  }

  async down(): Promise<void> {
    await Promise.allSettled(this.agents.map((agent) => agent?.stop()));
    await this.lab.destroy();
  }
}
