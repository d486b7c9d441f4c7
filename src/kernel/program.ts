import { spawn } from "node:child_process";

/** What a program said. `status` is null where a signal ended it. */
export interface ProgramResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell. Rejects with one line when it cannot be started; ends it after `timeoutMs`. */
export type RunProgram = (command: readonly string[], input?: string, timeoutMs?: number) => Promise<ProgramResult>;

const TIMEOUT_MS = 30_000;

export const runProgram: RunProgram = (command, input = "", timeoutMs = TIMEOUT_MS) =>
  new Promise((resolve, reject) => {
    const [name = "", ...parameters] = command;
    const child = spawn(name, parameters, { stdio: ["pipe", "pipe", "pipe"], timeout: timeoutMs });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(new Error(`cannot run \`${name}\` (${error.code ?? error.message}): is it installed?`)),
    );
    child.on("close", (status) => resolve({ status, stdout, stderr }));
    // A program that refuses its input early closes the pipe; its status says so.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });

/** As `runProgram`, but anything except success is an Error with the program's first line of complaint. */
export async function mustRun(run: RunProgram, command: readonly string[], input?: string): Promise<string> {
  const result = await run(command, input);
  if (result.status === 0) return result.stdout;
  const complaint = result.stderr.split("\n").find((line) => line.trim() !== "") ?? "no message";
  throw new Error(`\`${command.join(" ")}\` failed (status ${result.status}): ${complaint.trim()}`);
}
