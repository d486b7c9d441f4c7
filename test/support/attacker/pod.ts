import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Lab, Target } from "../../../src/lab/lab.ts";
import type { Outcome, Script } from "./script.ts";
import { MARK } from "./wire.ts";
import type { Sighting } from "./witness.ts";

const program = (name: string): string[] => [process.execPath, fileURLToPath(new URL(name, import.meta.url))];

/**
 * Keeps the pod's kernel from resetting connections it does not know, and lets nothing outside live whose TTL is below 10: a
 * packet with such a TTL is one that a gate sees and the server does not.
 */
export async function prepare(lab: Lab, pods: readonly Target[]): Promise<void> {
  const quiet = `table inet attacker {
  chain output { type filter hook output priority 0; tcp flags & rst == rst meta mark != ${MARK} drop; }
}\n`;
  const distance = `table inet distance {
  chain prerouting { type filter hook prerouting priority -310; iifname "eth0" ip ttl < 10 drop; iifname "eth0" ip6 hoplimit < 10 meta l4proto != 58 drop; }
}\n`;
  const load = (target: Target, input: string) => lab.exec(target, ["nft", "-f", "-"], { input });
  const results = await Promise.all([...pods.map((pod) => load(pod, quiet)), load("outside", distance)]);
  for (const { status, stderr } of results) if (status !== 0) throw new Error(stderr);
}

/** Follows all scripts at once in the pod. */
export async function attack(
  lab: Lab,
  pod: Target,
  scripts: readonly Script[],
  timeoutMs = 60_000,
): Promise<Outcome[]> {
  const { status, stdout, stderr } = await lab.exec(pod, program("main.ts"), {
    input: JSON.stringify(scripts),
    timeoutMs,
  });
  if (status !== 0) throw new Error(`the attacker ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Outcome[];
}

/** Watches the outside's interface. */
export class Witness {
  readonly #child: ChildProcess;
  readonly seen: Sighting[] = [];
  #rest = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on("data", (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString("utf8")).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "{}") this.seen.push(JSON.parse(line) as Sighting);
    });
  }

  static async start(lab: Lab, target: Target = "outside"): Promise<Witness> {
    const child = lab.spawn(target, program("witness.ts"), { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout!.once("data", resolve));
    return new Witness(child);
  }

  /** What came for an address from one source port. */
  arrived(address: string, fromPort: number): Sighting[] {
    return this.seen.filter((one) => one.to === address && one.fromPort === fromPort);
  }

  /** What a server said to one port, as text; each segment once, however often it was sent. */
  said(address: string, toPort: number): string {
    const answers = new Map<string, string>();
    for (const one of this.seen) {
      if (one.from !== address || one.toPort !== toPort) continue;
      answers.set(`${one.seq} ${one.data.length}`, Buffer.from(one.data, "base64").toString("latin1"));
    }
    return [...answers.values()].join("");
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
