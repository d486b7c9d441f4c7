import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Lab } from "./lab.ts";
import { inNetworkOnly } from "./process.ts";

export interface AgentProcessOptions {
  /** Node of the lab; counts from 1. */
  readonly node: number;
  /** How the agent is started: program and first arguments, for example `["bin/sallyport"]`. */
  readonly command: readonly string[];
  readonly policies: string;
  /** Default: the lab's own file. */
  readonly workloads?: string;
  readonly config: string;
  /** Flow log; default a file in the lab's folder. */
  readonly flows?: string;
  readonly readyTimeoutMs?: number;
}

/** One line of the agent's log. */
export type AgentLogLine = Readonly<Record<string, unknown>>;

/** An agent that runs on a node of a lab, as a process of its own. */
export class AgentProcess {
  readonly child: ChildProcess;
  readonly flows: string;
  readonly log: AgentLogLine[] = [];
  readonly #waiting: { readonly matches: (line: AgentLogLine) => boolean; readonly resolve: (line: AgentLogLine) => void }[] = [];
  readonly #exit: Promise<number | null>;

  private constructor(child: ChildProcess, flows: string) {
    this.child = child;
    this.flows = flows;
    this.#exit = new Promise((resolve) => child.once("exit", resolve));
    if (child.stderr === null) throw new Error("the agent's log cannot be read");
    createInterface({ input: child.stderr }).on("line", (line) => this.#take(line));
  }

  /** Starts an agent and waits until it enforces. @throws Error with the last thing it said */
  static async start(lab: Lab, options: AgentProcessOptions): Promise<AgentProcess> {
    const flows = options.flows ?? `${lab.directory}/flows-node${options.node}.jsonl`;
    const argv = [
      ...options.command,
      "agent",
      ...["--policies", options.policies],
      ...["--workloads", options.workloads ?? lab.workloadsPath],
      ...["--config", options.config],
      ...["--flows", flows],
    ];
    const [program = "", ...rest] = inNetworkOnly(lab.node(options.node).netns, argv);
    const agent = new AgentProcess(spawn(program, rest, { stdio: ["ignore", "ignore", "pipe"] }), flows);
    const ready = agent.event("ready", options.readyTimeoutMs ?? 15_000);
    const ended = agent.#exit.then((status) => {
      throw new Error(`the agent ended with ${status}: ${agent.lastWords()}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ready, ended]);
    return agent;
  }

  /** The next line (or one already there) with this event. */
  event(name: string, timeoutMs = 5_000): Promise<AgentLogLine> {
    return this.line((line) => line["event"] === name, `event \`${name}\``, timeoutMs);
  }

  line(matches: (line: AgentLogLine) => boolean, what: string, timeoutMs = 5_000): Promise<AgentLogLine> {
    const there = this.log.find(matches);
    if (there !== undefined) return Promise.resolve(there);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} from the agent: ${this.lastWords()}`)), timeoutMs);
      this.#waiting.push({
        matches,
        resolve: (line) => {
          clearTimeout(timer);
          resolve(line);
        },
      });
    });
  }

  /** Forgets what was logged so far, so that `event` waits for a new line. */
  forgetLog(): void {
    this.log.length = 0;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** SIGTERM, and its exit status. */
  async stop(timeoutMs = 5_000): Promise<number | null> {
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), timeoutMs);
    const status = await this.#exit;
    clearTimeout(timer);
    return status;
  }

  /** SIGKILL: a crash. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#exit;
  }

  lastWords(): string {
    return this.log
      .slice(-3)
      .map((line) => JSON.stringify(line))
      .join(" | ");
  }

  #take(text: string): void {
    let line: AgentLogLine;
    try {
      line = JSON.parse(text) as AgentLogLine;
    } catch {
      line = { event: "unreadable", text };
    }
    this.log.push(line);
    if (this.log.length > 10_000) this.log.shift();
    for (const one of this.#waiting.filter((waiting) => waiting.matches(line))) {
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      one.resolve(line);
    }
  }
}
