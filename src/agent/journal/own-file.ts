import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const MOST_BYTES = 256 * 1024;

/** The text of a small file of the state folder. Null: there is none. @throws Error where it is not one that only this user can write, or cannot be read */
export function readOwnFile(path: string): string | null {
  let file: number;
  try {
    file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const status = fstatSync(file);
    if (
      !status.isFile() ||
      status.uid !== process.getuid?.() ||
      (status.mode & 0o022) !== 0 ||
      status.size > MOST_BYTES
    )
      throw new Error(`\`${path}\` is no file of this user that nobody else can write to`);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** Puts this text in the place of what was there, whole. @throws Error where the folder cannot be written */
export function replaceOwnFile(path: string, text: string): void {
  writeFileSync(`${path}.next`, text, { mode: 0o600 });
  renameSync(`${path}.next`, path);
}
