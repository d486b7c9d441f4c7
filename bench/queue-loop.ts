/** The same queue in C: bench/load/queue.c in the place of an agent, behind the ruleset that the agent has left. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Lab } from "../src/lab/lab.ts";
import { inNetworkOnly } from "../src/lab/process.ts";
import { ANSWER } from "../src/model/verdict.ts";
import { tool } from "./stage.ts";

/** First queue number of an agent that inherits from nobody. */
export const QUEUE = 5100;
export type LoopAnswer = "http" | "pass" | "allow";

export interface LoopUse {
  readonly packets: number;
  /** Processor time of its thread. */
  readonly nanoseconds: number;
}

export class QueueLoop {
  readonly #child: ChildProcess;
  readonly #lines: AsyncGenerator<string>;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = readLines(child);
    this.#ended = new Promise((resolve) => child.once("exit", resolve));
  }

  /** Accepts every packet that the first node of the lab asks about; no agent may listen there. */
  static async start(lab: Lab, tcp: LoopAnswer, other: LoopAnswer): Promise<QueueLoop> {
    const argv = [tool("queue"), String(QUEUE), String(ANSWER[tcp]), String(ANSWER[other])];
    const [program = "", ...rest] = inNetworkOnly(lab.node(1).netns, argv);
    const loop = new QueueLoop(spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] }));
    const first = await loop.#lines.next();
    if (first.value !== "ready") throw new Error("`queue` did not bind its queues: does an agent hold them?");
    return loop;
  }

  async used(): Promise<LoopUse> {
    this.#child.kill("SIGUSR1");
    const { value } = await this.#lines.next();
    const [packets = 0, nanoseconds = 0] = String(value).split(" ").map(Number);
    return { packets, nanoseconds };
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#ended;
  }
}

async function* readLines(child: ChildProcess): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of child.stdout ?? []) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
