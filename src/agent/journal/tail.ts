import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { readAt } from "./file.ts";
import { HEADER, readFrames, readJournal } from "./frame.ts";
import type { JournalRecord } from "./record.ts";

const { O_NOFOLLOW, O_RDONLY } = constants;
/** No journal is longer. */
const MOST = 64 * 1024 * 1024;

/** Follows the journal of another agent while that one writes it, and while it puts a new one in its place. */
export class JournalTail {
  readonly #path: string;
  #file = -1;
  #inode = 0;
  #at = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Hands over what is new since the last call. Never throws: what cannot be read is not there yet. Returns how many. */
  read(each: (record: JournalRecord) => void): number {
    let count = 0;
    try {
      if (this.#file >= 0) count += this.#rest(each);
      // What was written to the old file before the new one took its place has been read by now.
      if (this.#reopen()) count += this.#rest(each);
    } catch {
      this.close();
    }
    return count;
  }

  close(): void {
    if (this.#file >= 0) closeSync(this.#file);
    this.#file = -1;
    this.#inode = 0;
  }

  #reopen(): boolean {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there === undefined || there.ino === this.#inode) return false;
    this.close();
    this.#file = openSync(this.#path, O_RDONLY | O_NOFOLLOW);
    this.#inode = fstatSync(this.#file).ino;
    this.#at = 0;
    return true;
  }

  #rest(each: (record: JournalRecord) => void): number {
    const { size } = fstatSync(this.#file);
    if (size <= this.#at || size > MOST + this.#at) return 0;
    const bytes = Buffer.allocUnsafe(size - this.#at);
    const piece = bytes.subarray(0, readAt(this.#file, bytes, this.#at));
    if (this.#at === 0) {
      const { records, torn, version } = readJournal(piece, each);
      if (version === HEADER[HEADER.length - 1]) this.#at = piece.length - torn;
      return records;
    }
    const { records, end } = readFrames(piece, 0, each);
    this.#at += end;
    return records;
  }
}
