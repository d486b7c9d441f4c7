import { lstatSync, mkdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

export const JOURNAL = "journal";
export const JOURNAL_NEXT = "journal.next";

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

/** Takes away what an agent left, and the folder if nothing else is in it. Never throws. */
export function removeState(folder: string): void {
  for (const name of [JOURNAL, JOURNAL_NEXT]) rmSync(join(folder, name), { force: true });
  try {
    rmdirSync(folder);
  } catch {
    // Not there, or holds what is not ours.
  }
}
