import { closeSync, constants, openSync, writeSync } from "node:fs";
import type { FlowTarget } from "./flow-file.ts";

const STDOUT = 1;
const RETRY_MS = 20;

/**
 * Standard output as a flow log. Node writes to pipes synchronously: a reader that stops reading would stop the whole
 * main thread. So the pipe is opened a second time, without waiting, and what does not fit is tried again later.
 */
export class FlowStdout implements FlowTarget {
  #fd = -1;
  #turn = 0;

  async write(data: Buffer): Promise<void> {
    if (this.#fd < 0) this.#fd = openNonBlocking();
    const turn = this.#turn;
    let written = 0;
    while (written < data.length) {
      if (this.#turn !== turn) throw new Error("the reader of standard output does not read");
      const count = this.#try(data, written);
      written += count;
      if (count > 0) continue;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** A write under way ends: what has not been taken by then is lost. */
  async close(): Promise<void> {
    this.#turn++;
    if (this.#fd > STDOUT) closeSync(this.#fd);
    this.#fd = -1;
  }

  #try(data: Buffer, from: number): number {
    try {
      return writeSync(this.#fd, data, from);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0;
      throw error;
    }
  }
}

/** A socket cannot be opened through /proc: then it is what it is. */
function openNonBlocking(): number {
  try {
    return openSync(`/proc/self/fd/${STDOUT}`, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK);
  } catch {
    return STDOUT;
  }
}
