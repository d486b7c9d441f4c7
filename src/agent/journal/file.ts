import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { otherGeneration } from "../../kernel/ruleset.ts";
import type { Generation } from "../../model/verdict.ts";
import { journalName, makeStateFolder, removeJournal } from "./folder.ts";
import { HEADER } from "./frame.ts";

/** Another agent has put its own journal in the place of ours: this one is about to be replaced. */
export class Superseded extends Error {}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = constants;

/** The journal on disk: read once, appended to, and replaced as a whole. Failures are thrown; after one the file must be replaced. */
export class JournalFile {
  readonly folder: string;
  readonly #generation: Generation;
  readonly #path: string;
  readonly #nextPath: string;
  #file: FileHandle | null = null;
  #inode = 0;
  #size = 0;

  constructor(folder: string, generation: Generation = 0) {
    this.folder = folder;
    this.#generation = generation;
    this.#path = join(folder, journalName(generation));
    this.#nextPath = `${this.#path}.next`;
  }

  /** That of the other generation, which may be in use by another agent. */
  get otherPath(): string {
    return join(this.folder, journalName(otherGeneration(this.#generation)));
  }

  /** The agent of the other generation has ended, and all that it left is in this journal. */
  removeOther(): void {
    removeJournal(this.folder, otherGeneration(this.#generation));
  }

  get size(): number {
    return this.#size;
  }

  /**
   * What earlier agents left, at most `most` bytes of each journal, the one last written last; empty: nothing. @throws Error
   * where it cannot be read or trusted
   */
  read(most: number): readonly Buffer[] {
    makeStateFolder(this.folder);
    return [this.#path, this.otherPath]
      .flatMap((path) => readWhole(path, most) ?? [])
      .sort((a, b) => a.written - b.written)
      .map(({ bytes }) => bytes);
  }

  /** Not synced: it has to outlive the process, not the machine, whose connections end with it. */
  async append(batch: readonly Buffer[]): Promise<void> {
    if (this.#file === null) throw new Error("the journal is not open");
    this.#size += await writeAll(this.#file, batch);
  }

  /** Puts a new journal in the place of the old one, with what `write` hands to its argument. */
  async replace(write: (append: (batch: readonly Buffer[]) => Promise<void>) => Promise<void>): Promise<void> {
    await this.#assertOurs();
    makeStateFolder(this.folder);
    const next = await open(this.#nextPath, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0o600);
    try {
      let size = await writeAll(next, [Buffer.from(HEADER)]);
      await write(async (batch) => {
        size += await writeAll(next, batch);
      });
      const { ino } = await next.stat();
      await this.#assertOurs();
      await rename(this.#nextPath, this.#path);
      const before = this.#file;
      this.#file = next;
      this.#inode = ino;
      this.#size = size;
      await before?.close().catch(() => undefined);
    } catch (error) {
      await next.close().catch(() => undefined);
      // Half a journal takes room that the next try may need.
      if (!(error instanceof Superseded)) await rm(this.#nextPath, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  async #assertOurs(): Promise<void> {
    if (this.#inode === 0) return;
    const there = await stat(this.#path).catch(() => null);
    if (there !== null && there.ino !== this.#inode) throw new Superseded("another agent keeps the journal now");
  }
}

async function writeAll(file: FileHandle, batch: readonly Buffer[]): Promise<number> {
  const bytes = batch.length === 1 ? batch[0]! : Buffer.concat(batch);
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    if (bytesWritten === 0) throw new Error("nothing could be written");
    at += bytesWritten;
  }
  return bytes.length;
}

function readWhole(path: string, most: number): { readonly bytes: Buffer; readonly written: number } | null {
  let file: number;
  try {
    file = openSync(path, O_RDONLY | O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const { size, mtimeMs } = fstatSync(file);
    const bytes = Buffer.allocUnsafe(Math.min(size, most));
    return { bytes: bytes.subarray(0, readAt(file, bytes, 0)), written: mtimeMs };
  } finally {
    closeSync(file);
  }
}

/** Fills `bytes` from `position` on, as far as the file goes. Returns how many there were. */
export function readAt(file: number, bytes: Buffer, position: number): number {
  let length = 0;
  while (length < bytes.length) {
    const count = readSync(file, bytes, length, bytes.length - length, position + length);
    if (count === 0) break;
    length += count;
  }
  return length;
}
