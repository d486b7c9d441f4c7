/** Whether anything else runs on the machine: a round beside a compiler measures the compiler. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { Lab } from "../src/lab/lab.ts";
import { NETNS_RUN } from "../src/lab/names.ts";
import { netnsNames } from "../src/lab/state.ts";

const SAMPLE_MS = 150;
const CALM = 0.85;

/** Waits until the machine idles, at most so long. */
export async function calm(limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const before = ticks();
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    const after = ticks();
    if ((after.idle - before.idle) / Math.max(1, after.all - before.all) >= CALM) return;
    if (performance.now() > deadline) return;
  }
}

/** Tells what part of the machine others took while something of ours ran. */
export class Neighbours {
  readonly #spaces: ReadonlySet<string>;

  private constructor(spaces: ReadonlySet<string>) {
    this.#spaces = spaces;
  }

  /** Ours is what runs in the network namespaces of these labs, this process, and children that it has waited for. */
  static async of(labs: readonly Lab[]): Promise<Neighbours> {
    const ours = (await netnsNames()).filter((netns) => labs.some((lab) => netns.startsWith(`sp-${lab.name}-`)));
    return new Neighbours(new Set(ours.map((netns) => `net:[${statSync(`${NETNS_RUN}/${netns}`).ino}]`)));
  }

  /** Starts watching; the function that it gives says the others' part since, 0 to 1. */
  watch(): () => number {
    const before = ticks();
    const own = this.#own();
    return () => {
      const after = ticks();
      const foreign = after.busy - before.busy - (this.#own() - own);
      return Math.max(0, foreign / Math.max(1, after.all - before.all));
    };
  }

  #own(): number {
    let sum = timesOf("self", true);
    for (const pid of readdirSync("/proc")) {
      if (pid !== String(process.pid) && /^\d+$/.test(pid) && this.#isOurs(pid)) sum += timesOf(pid, false);
    }
    return sum;
  }

  #isOurs(pid: string): boolean {
    try {
      return this.#spaces.has(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      return false;
    }
  }
}

/** Fields 14 to 17 of proc(5) stat; the name before them may hold spaces. */
function timesOf(pid: string, children: boolean): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15).map(Number);
    return user + system + (children ? childUser + childSystem : 0);
  } catch {
    return 0;
  }
}

/** Of all processors, since the machine started. Interrupts are nobody's: they carry our packets. */
function ticks(): { readonly idle: number; readonly busy: number; readonly all: number } {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0] = fields;
  return { idle: idle + wait, busy: user + nice + system, all: fields.reduce((sum, field) => sum + field, 0) };
}
