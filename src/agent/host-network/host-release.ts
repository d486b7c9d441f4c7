import { HostTable } from "../../kernel/host-table.ts";
import { errnoName } from "../../kernel/libc.ts";
import type { Logger } from "../log.ts";
import type { HostPods } from "./host-pods.ts";
import type { HostKeeper } from "./host-rules.ts";

/**
 * Where pods of the host's network are not to be held (any more): lets go of those that an agent before this one held, in the kernel and in the state
 * folder. The table stays, and is empty: it may be the one that an init container has just made for the next agent, which cannot make it itself
 * (docs/adr/0025-host-network-pods.md). The next agent of an administrator who changes his mind fills it again.
 */
export class HostRelease implements HostKeeper {
  readonly #table = new HostTable();
  readonly #pods: HostPods;
  readonly #log: Logger;
  #released = false;
  #said: string | null = null;

  constructor(pods: HostPods, log: Logger) {
    this.#pods = pods;
    this.#log = log;
  }

  async hold(): Promise<void> {
    if (this.#released) return;
    const problem = this.#release();
    this.#released = problem === null;
    if (problem === null) {
      this.#log.info({ event: "host-pods-let-go" }, "pods on the host's network are not held");
      return;
    }
    if (problem === this.#said) return;
    this.#said = problem;
    const words = "pods on the host's network that an agent before held are not let go yet; trying again";
    this.#log.error({ event: "host-pods-still-held", problem }, words);
  }

  verify(): Promise<void> {
    return this.hold();
  }

  async remove(): Promise<void> {
    this.#pods.held = [];
    await this.#table.remove();
  }

  close(): void {
    this.#table.close();
  }

  /** @returns what is wrong, one line; null: nothing */
  #release(): string | null {
    const error = this.#table.release();
    if (error !== 0) return `the kernel does not forget their control groups: ${errnoName(error)}`;
    try {
      this.#pods.held = [];
      return null;
    } catch (problem) {
      return String(problem);
    }
  }
}
