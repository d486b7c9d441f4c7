import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BYPASS, BYPASS_KNOWN, makeStateFolder } from "../journal/folder.ts";
import { readOwnFile, replaceOwnFile } from "../journal/own-file.ts";
import { type Bypass, isActive, MOST_BYPASSES, SCOPES } from "./bypass.ts";

export const LONGEST_REASON = 256;

/** The machine's own name for the time since it was started. */
export function bootID(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/** The file of all bypasses of this node; who may write into the state folder may set enforcement aside: root. */
export function bypassPath(folder: string): string {
  return join(folder, BYPASS);
}

/**
 * Those that hold now. None where there is no file. @throws Error where the folder or the file is not one that only this user can write,
 * or where it cannot be read: then nothing is set aside
 */
export function readBypasses(folder: string): readonly Bypass[] {
  const text = readOwnFile(bypassPath(folder));
  if (text === null) return [];
  makeStateFolder(folder);
  const boot = bootID();
  const read: unknown = JSON.parse(text);
  if (!Array.isArray(read) || read.length > MOST_BYPASSES) throw new Error("it is not a list of bypasses");
  return read.map(readBypass).filter((one) => isActive(one, boot));
}

/** Puts these in the place of what was written. @throws Error where the folder cannot be trusted or written */
export function writeBypasses(folder: string, bypasses: readonly Bypass[]): void {
  makeStateFolder(folder);
  if (bypasses.length === 0) rmSync(bypassPath(folder), { force: true });
  else replace(bypassPath(folder), bypasses);
}

/** Ids of the bypasses that an agent says are in force; what cannot be read says nothing. */
export function readKnown(folder: string): ReadonlySet<string> {
  try {
    const read: unknown = JSON.parse(readOwnFile(join(folder, BYPASS_KNOWN)) ?? "[]");
    return new Set(Array.isArray(read) ? read.filter((id) => typeof id === "string") : []);
  } catch {
    return new Set();
  }
}

export function writeKnown(folder: string, bypasses: readonly Bypass[]): void {
  replace(
    join(folder, BYPASS_KNOWN),
    bypasses.map(({ id }) => id),
  );
}

function replace(path: string, value: unknown): void {
  replaceOwnFile(path, `${JSON.stringify(value, null, 1)}\n`);
}

/** @throws Error where it is none */
function readBypass(value: unknown): Bypass {
  const { id, scope, namespace, reason, by, since, until, bootID, endsAt } = (value ?? {}) as Record<string, unknown>;
  const known = SCOPES.find((one) => one === scope);
  const text = (one: unknown, most: number): one is string => typeof one === "string" && one.length <= most;
  if (
    known === undefined ||
    !text(id, 16) ||
    (known === "Namespace") !== text(namespace, 63) ||
    !text(reason, LONGEST_REASON) ||
    !text(by, LONGEST_REASON) ||
    !text(since, 32) ||
    !text(until, 32) ||
    !text(bootID, 64) ||
    typeof endsAt !== "number"
  ) {
    throw new Error("one of its entries is no bypass");
  }
  return {
    id,
    scope: known,
    namespace: text(namespace, 63) ? namespace : null,
    reason,
    by,
    since,
    until,
    bootID,
    endsAt,
  };
}
