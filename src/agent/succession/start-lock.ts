import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { flock, LOCK_EX_NB } from "../../kernel/libc.ts";
import { LOCK } from "../journal/folder.ts";

const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;
const TRY_EVERY_MS = 50;

/**
 * Only one agent starts at a time. The kernel lets go of the lock when its holder dies, whatever way, also where the holder
 * has process ids of its own; so no lock is ever stale.
 */
export class StartLock {
  #file: number;

  private constructor(file: number) {
    this.#file = file;
  }

  /** Waits until nobody else starts. `waiting` is called again and again meanwhile. @throws Error when the file cannot be made */
  static async take(folder: string, waiting: () => void): Promise<StartLock> {
    const file = openSync(join(folder, LOCK), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    while (flock(file, LOCK_EX_NB) !== 0) {
      waiting();
      await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
    }
    return new StartLock(file);
  }

  release(): void {
    if (this.#file >= 0) closeSync(this.#file);
    this.#file = -1;
  }
}
