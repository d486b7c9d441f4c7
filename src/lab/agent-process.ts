import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import type { Lab } from "./lab.ts";
import { inNetworkOnly } from "./process.ts";

export interface AgentProcessOptions {
  /** Node of the lab; counts from 1. */
  readonly node: number;
  /** How the agent is started: program and first arguments, for example `["bin/sallyport"]`. */
  readonly command: readonly string[];
  /** Not needed where `kube` is given; nor is `config`. */
  readonly policies?: string;
  /** Default: the lab's own file. */
  readonly workloads?: string;
  readonly config?: string;
  /** The kubeconfig of an API server: its objects instead of files. */
  readonly kube?: string;
  /** Folder of what a restart remembers; default one in the lab's folder. */
  readonly state?: string;
  /** Flow log; default a file in the lab's folder. */
  readonly flows?: string;
  /** File of its log; default one in the lab's folder, for one agent of the node at a time. */
  readonly log?: string;
  /** Further words of its command line. */
  readonly more?: readonly string[];
  readonly readyTimeoutMs?: number;
}

/** One line of the agent's log. */
export type AgentLogLine = Readonly<Record<string, unknown>>;

const READ_EVERY_MS = 20;
const READ_BYTES = 65_536;
const LINES_KEPT = 10_000;

/**
 * An agent that runs on a node of a lab, as a process of its own. It logs to a file in the lab's folder, which is read
 * from here: so it can outlive this process, and ends with the lab at the latest.
 */
export class AgentProcess {
  readonly child: ChildProcess;
  readonly flows: string;
  readonly log: AgentLogLine[] = [];
  readonly #waiting: {
    readonly matches: (line: AgentLogLine) => boolean;
    readonly resolve: (line: AgentLogLine) => void;
  }[] = [];
  readonly #exit: Promise<number | null>;

  readonly #logFile: number;
  readonly #reader: NodeJS.Timeout;
  #rest = "";

  private constructor(child: ChildProcess, flows: string, logPath: string) {
    this.child = child;
    this.flows = flows;
    this.#exit = new Promise((resolve) => child.once("exit", resolve));
    this.#logFile = openSync(logPath, "r");
    this.#reader = setInterval(() => this.#read(), READ_EVERY_MS);
    child.once("exit", () => this.#close());
  }

  /** Starts an agent and waits until it enforces. @throws Error with the last thing it said */
  static async start(lab: Lab, options: AgentProcessOptions): Promise<AgentProcess> {
    const agent = AgentProcess.spawn(lab, options);
    const ready = agent.event("ready", options.readyTimeoutMs ?? 15_000);
    const ended = agent.#exit.then((status) => {
      throw new Error(`the agent ended with ${status}: ${agent.lastWords()}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ready, ended]);
    return agent;
  }

  /** Starts an agent and waits for nothing. */
  static spawn(lab: Lab, options: AgentProcessOptions): AgentProcess {
    const flows = options.flows ?? `${lab.directory}/flows-node${options.node}.jsonl`;
    const argv = [
      ...options.command,
      "agent",
      ...inputs(lab, options),
      ...["--flows", flows],
      ...["--state", options.state ?? `${lab.directory}/state-node${options.node}`],
      ...(options.more ?? []),
    ];
    const [program = "", ...rest] = inNetworkOnly(lab.node(options.node).netns, argv);
    const logPath = options.log ?? `${lab.directory}/agent-node${options.node}.log`;
    const out = openSync(logPath, "w");
    const child = spawn(program, rest, { stdio: ["ignore", "ignore", out], detached: true, cwd: "/" });
    closeSync(out);
    return new AgentProcess(child, flows, logPath);
  }

  /** The next line (or one already there) with this event. */
  event(name: string, timeoutMs = 10_000): Promise<AgentLogLine> {
    return this.line((line) => line["event"] === name, `event \`${name}\``, timeoutMs);
  }

  line(matches: (line: AgentLogLine) => boolean, what: string, timeoutMs = 10_000): Promise<AgentLogLine> {
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

  /** Its exit status, when it ends by itself. */
  exited(): Promise<number | null> {
    return this.#exit;
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

  /** Lets the agent go on when this process ends. */
  detach(): void {
    this.#close();
    this.child.unref();
  }

  #close(): void {
    this.#read();
    clearInterval(this.#reader);
  }

  #read(): void {
    const chunk = Buffer.alloc(READ_BYTES);
    for (let count = readSync(this.#logFile, chunk); count > 0; count = readSync(this.#logFile, chunk)) {
      const lines = (this.#rest + chunk.toString("utf8", 0, count)).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
  }

  #take(text: string): void {
    let line: AgentLogLine;
    try {
      line = JSON.parse(text) as AgentLogLine;
    } catch {
      line = { event: "unreadable", text };
    }
    this.log.push(line);
    if (this.log.length > LINES_KEPT) this.log.shift();
    for (const one of this.#waiting.filter((waiting) => waiting.matches(line))) {
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      one.resolve(line);
    }
  }
}

function inputs(lab: Lab, { node, policies, workloads, config, kube }: AgentProcessOptions): readonly string[] {
  if (kube !== undefined) return ["--kube", "--kubeconfig", kube, "--node-name", lab.node(node).name];
  return ["--policies", policies ?? "", "--workloads", workloads ?? lab.workloadsPath, "--config", config ?? ""];
}
