import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Generation } from "../../model/verdict.ts";
import { rollName } from "../journal/folder.ts";
import { replaceOwnFile } from "../journal/own-file.ts";

/** A process and when it was started, in ticks since the machine was: a number given again is another process. */
interface Identity {
  readonly pid: number;
  readonly started: string;
}

interface Roll {
  readonly agent: Identity;
  readonly supervisor: Identity | null;
}

/** Writes down who the agent of this generation is, for one that has to end it when it hangs. */
export function writeRoll(folder: string, generation: Generation, supervisor: number | null): void {
  const roll: Roll = {
    agent: identityOf(process.pid)!,
    supervisor: supervisor === null ? null : identityOf(supervisor),
  };
  replaceOwnFile(join(folder, rollName(generation)), `${JSON.stringify(roll)}\n`);
}

/**
 * Kills the agent of this generation: its supervisor first, which would start another one. Only who is surely meant is killed.
 * False: nobody was, for example because it runs in another process namespace.
 */
export function killAgent(folder: string, generation: Generation): boolean {
  let roll: Roll;
  try {
    roll = JSON.parse(readFileSync(join(folder, rollName(generation)), "utf8")) as Roll;
  } catch {
    return false;
  }
  return [roll.supervisor, roll.agent]
    .map((one) => one !== null && one !== undefined && kill(one))
    .some((killed) => killed);
}

function kill({ pid, started }: Identity): boolean {
  if (!Number.isInteger(pid) || pid <= 1 || identityOf(pid)?.started !== started) return false;
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false;
  }
}

/** proc_pid_stat(5): field 22; the name in field 2 may hold anything, also brackets and spaces. */
function identityOf(pid: number): Identity | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return { pid, started: text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "" };
  } catch {
    return null;
  }
}
