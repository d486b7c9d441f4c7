import { lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Generation } from "../../model/verdict.ts";

const GENERATIONS: readonly Generation[] = [0, 1];

/** What lies in the folder, by the generation of the agent that put it there. */
export const journalName = (generation: Generation): string => (generation === 0 ? "journal" : "journal.1");
export const rollName = (generation: Generation): string => `agent-${generation}.json`;
export const socketName = (generation: Generation): string => `agent-${generation}.sock`;
/** Where HTTP flows stand between requests (inspector/request-boundaries). */
export const boundariesName = (generation: Generation): string => `requests-${generation}`;
const CLUSTER = "cluster-";
/** What was known of a resource of the API server. */
export const clusterName = (resource: string): string => `${CLUSTER}${resource}`;
/** What `sallyport bypass` asked for, and what of it an agent has put into force. */
export const BYPASS = "bypass.json";
export const BYPASS_KNOWN = "bypass-known.json";
/** Control groups of pods on the host's network that are held. */
export const HELD_PODS = "held-pods.json";
/** Held by the agent that is starting. */
export const LOCK = "lock";

/** Named by the network namespace, so that two agents on one machine do not meet. Gone with the machine's next start. */
export function defaultStateFolder(): string {
  return `/run/sallyport/${statSync("/proc/self/ns/net").ino}`;
}

/**
 * Makes the folder, for this user only. @throws Error when it is there and others could have put something into it: what a
 * journal says is believed
 */
export function makeStateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(folder);
  const isFolder = (mode & 0o170000) === 0o040000;
  if (!isFolder || uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new Error(
      `\`${folder}\` is no folder of this user that nobody else can write to: \`chmod 700\` it, or name another with \`--state\``,
    );
  }
}

/** Takes away the journal of one generation, and where its HTTP flows stood. */
export function removeJournal(folder: string, generation: Generation): void {
  const name = journalName(generation);
  for (const path of [name, `${name}.next`, boundariesName(generation)]) rmSync(join(folder, path), { force: true });
}

/** Takes away what says that an agent of this generation runs. */
export function removeRoll(folder: string, generation: Generation): void {
  for (const path of [rollName(generation), socketName(generation)]) rmSync(join(folder, path), { force: true });
}

/** Takes away what agents left, and the folder if nothing else is in it. Never throws. */
export function removeState(folder: string): void {
  for (const generation of GENERATIONS) {
    removeJournal(folder, generation);
    removeRoll(folder, generation);
  }
  try {
    for (const name of readdirSync(folder)) {
      if (
        name.startsWith(CLUSTER) ||
        name.startsWith(BYPASS) ||
        name.startsWith(BYPASS_KNOWN) ||
        name.startsWith(HELD_PODS)
      )
        rmSync(join(folder, name), { force: true });
    }
    rmSync(join(folder, LOCK), { force: true });
    rmdirSync(folder);
  } catch {
    // Not there, or holds what is not ours.
  }
}
