import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";

export interface ExecOptions {
  /** Default 20,000. The whole process group is killed when it is over. */
  readonly timeoutMs?: number;
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ExecResult {
  /** Exit status, or null if a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly milliseconds: number;
}

const MAX_OUTPUT = 32 * 1024 * 1024;

/** Runs a program to its end. Rejects only if it cannot be started; output over 32 MiB a stream is cut. */
export function run(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const started = performance.now();
  const child = spawn(argv[0] ?? "", argv.slice(1), {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    detached: true,
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child);
  }, options.timeoutMs ?? 20_000);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  // A program that does not read its input closes the pipe: that is its right.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`\`${argv[0]}\` cannot be started: ${error.message}`));
    });
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      const milliseconds = performance.now() - started;
      resolve({ status, signal, stdout: stdout(), stderr: stderr(), timedOut, milliseconds });
    });
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    if (length < MAX_OUTPUT) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}

/** Runs a program that must succeed. @throws Error with the first line it wrote on stderr */
export async function must(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.status === 0) return result.stdout;
  const why = result.timedOut
    ? "no end within its time"
    : (result.stderr
        .trim()
        .split("\n")
        .find((line) => line !== "") ?? "");
  throw new Error(`\`${argv.join(" ").slice(0, 120)}\` failed: ${why || `status ${result.status}`}`);
}

/** The command line that runs `argv` in a network namespace, with that namespace's files in `/etc`. */
export function inNetns(netns: string, argv: readonly string[]): string[] {
  return ["ip", "netns", "exec", netns, ...argv];
}

/** As `inNetns`, but only the network changes: quicker, for servers and set-up. */
export function inNetworkOnly(netns: string, argv: readonly string[]): string[] {
  return ["nsenter", `--net=/run/netns/${netns}`, ...argv];
}

/**
 * Starts a server that outlives this process: a session of its own, all three streams away from ours, so that nobody
 * who reads our output waits for it. It is found again by its network namespace.
 */
export function startServer(netns: string, argv: readonly string[], log: string): Promise<number> {
  const out = openSync(log, "a");
  const [program = "", ...rest] = inNetworkOnly(netns, argv);
  const child = spawn(program, rest, { stdio: ["ignore", out, out], detached: true, cwd: "/" });
  closeSync(out);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("spawn", () => {
      child.unref();
      resolve(child.pid ?? 0);
    });
  });
}

/** Waits for all even when one fails: clearing up must not race with work that still makes things. */
export async function together(tasks: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(tasks)) {
    if (result.status === "rejected") throw result.reason;
  }
}
