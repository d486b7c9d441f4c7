import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { run } from "../../src/lab/process.ts";

/** A running server, known well enough to end it later from another process. */
export interface Component {
  readonly name: string;
  readonly pid: number;
  /** Clock ticks from boot to its start: a later process of the same pid has another value. */
  readonly started: string;
  readonly log: string;
  /** What started it: starts it again. */
  readonly argv: readonly string[];
}

export interface StartOptions {
  readonly name: string;
  readonly argv: readonly string[];
  readonly log: string;
}

/** Starts a server in a session of its own, all three streams away from ours: it outlives this process. */
export async function startComponent(options: StartOptions): Promise<Component> {
  const { name, argv, log } = options;
  const out = openSync(log, "a");
  const [program = "", ...rest] = argv;
  const child = spawn(program, rest, {
    stdio: ["ignore", out, out],
    detached: true,
    cwd: "/",
  });
  closeSync(out);
  const pid = await new Promise<number>((resolve, reject) => {
    child.on("error", (error) => reject(new Error(`\`${name}\` cannot be started: ${error.message}`)));
    child.on("spawn", () => resolve(child.pid ?? 0));
  });
  child.unref();
  return { name, pid, started: (await startTicks(pid)) ?? "", log, argv };
}

export async function isRunning(component: Component): Promise<boolean> {
  return (await startTicks(component.pid)) === component.started;
}

/** Field 22 of `/proc/PID/stat` (proc(5)), or null when there is no such process or only its zombie. */
export async function startTicks(pid: number): Promise<string | null> {
  const fields = await statFields(pid);
  return fields[0] === "Z" ? null : (fields[19] ?? null);
}

/** The fields of `/proc/PID/stat` from the third on: the second, the program's name, may hold blanks and parentheses. */
export async function statFields(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

const ASK_MS = 5_000;
const KILL_MS = 10_000;

/** Asks a component to end, then insists. @throws Error if it is still there after ten seconds */
export async function stopComponent(component: Component): Promise<void> {
  const began = performance.now();
  let asked = false;
  while (await isRunning(component)) {
    const waited = performance.now() - began;
    if (waited > KILL_MS) throw new Error(`\`${component.name}\` (process ${component.pid}) does not end`);
    if (waited > ASK_MS) signal(component.pid, "SIGKILL");
    else if (!asked) signal(component.pid, "SIGTERM");
    asked = true;
    await pause(20);
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself in the meantime.
  }
}

export interface ReadyProbe {
  /** A program whose status 0 says ready. */
  readonly argv: readonly string[];
  readonly timeoutMs: number;
}

/** Waits until the probe succeeds. @throws Error with the component's last words when it ended or the time is over */
export async function waitReady(component: Component, probe: ReadyProbe): Promise<void> {
  const began = performance.now();
  for (;;) {
    const { status } = await run(probe.argv, { timeoutMs: 5_000 });
    if (status === 0) return;
    const ended = !(await isRunning(component));
    if (ended || performance.now() - began > probe.timeoutMs) {
      const why = ended ? "ended" : `is not ready after ${probe.timeoutMs / 1000} s`;
      throw new Error(`\`${component.name}\` ${why}; \`${component.log}\` ends:\n${await lastLines(component.log)}`);
    }
    await pause(100);
  }
}

async function lastLines(log: string): Promise<string> {
  const text = await readFile(log, "utf8").catch(() => "");
  const lines = text.trimEnd().split("\n").slice(-5);
  return lines.map((line) => line.slice(0, 400)).join("\n");
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
