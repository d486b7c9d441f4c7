import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "../log.ts";
import { onWords, say } from "./word-line.ts";

const LEAVE_LIMIT_MS = 2_000;
/** A new agent that died is started anew by its supervisor, and connects at the beginning of its start. */
const LOST_AFTER_MS = 5_000;

export interface Retiring {
  /** Leaves the ruleset alone from now on, and has written what it knows. */
  retire(): Promise<void>;
  /** The new one enforces. */
  installed(): void;
  /** The new one died before that: the ruleset is this one's again. */
  resume(): Promise<void>;
  /** It enforced, died, and did not come back. */
  abandoned(): void;
}

/** Where a running agent can be asked to make room for a new one: its end of the connection. */
export class Retirement {
  readonly #path: string;
  readonly #agent: Retiring;
  readonly #log: Logger;
  readonly #server: Server;
  #successor: Socket | null = null;
  readonly #connections = new Set<Socket>();
  #lost: NodeJS.Timeout | null = null;
  #installed = false;
  #left: (() => void) | null = null;

  constructor(path: string, agent: Retiring, log: Logger) {
    this.#path = path;
    this.#agent = agent;
    this.#log = log;
    this.#server = createServer((socket) => this.#onConnection(socket));
  }

  /** The caller holds the start lock, so whatever lies at the path belongs to nobody. */
  async listen(): Promise<void> {
    rmSync(this.#path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#path, resolve);
    });
    chmodSync(this.#path, 0o600);
    this.#server.on("error", (error) => this.#log.error({ event: "hand-over-failed", error: String(error) }));
  }

  /** Tells the new one that this one ends, and waits until nothing is asked of this one any more; not for ever. */
  async leave(): Promise<void> {
    const successor = this.#successor;
    if (successor === null) return;
    await new Promise<void>((resolve) => {
      this.#left = resolve;
      setTimeout(resolve, LEAVE_LIMIT_MS).unref();
      say(successor, "leaving");
    });
  }

  /** The agent that enforces has died, and may come back. */
  get lost(): boolean {
    return this.#lost !== null;
  }

  close(): void {
    this.#found();
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  #found(): void {
    if (this.#lost !== null) clearTimeout(this.#lost);
    this.#lost = null;
  }

  #onConnection(socket: Socket): void {
    socket.on("error", () => undefined);
    socket.once("close", () => this.#onClose(socket));
    this.#connections.add(socket);
    this.#found();
    onWords(socket, (word) => {
      if (word === "retire") void this.#retire(socket);
      else if (socket !== this.#successor) return;
      else if (word === "installed" && !this.#installed) {
        this.#installed = true;
        this.#agent.installed();
      } else if (word === "alone") this.#left?.();
    });
  }

  async #retire(socket: Socket): Promise<void> {
    // The last one to ask holds the start lock; one before it has died.
    this.#successor = socket;
    await this.#agent.retire();
    if (this.#successor === socket) say(socket, "retiring");
  }

  #onClose(socket: Socket): void {
    this.#connections.delete(socket);
    if (this.#installed && this.#connections.size === 0 && this.#left === null) {
      this.#lost = setTimeout(() => this.#agent.abandoned(), LOST_AFTER_MS);
    }
    if (socket !== this.#successor) return;
    this.#successor = null;
    this.#left?.();
    if (this.#installed) return;
    this.#agent.resume().catch((error: unknown) => {
      this.#log.error({ event: "hand-over-failed", error: String(error) }, "this agent could not go on as before");
    });
  }
}
