import { Worker } from "node:worker_threads";
import { EventFd } from "../kernel/poller.ts";
import type { EndingsMessage } from "./events-worker.ts";

const STOP_LIMIT_MS = 1_000;
const RESTART_AFTER_MS = 500;

/** What it reads dies at once. */
const YOUNG_MIB = 24;

/** The main thread's end of the reader of conntrack endings. */
export class EndingsReader {
  readonly #file: URL;
  readonly #listener: (message: EndingsMessage) => void;
  readonly #stop = new EventFd();
  readonly #onTrouble: (reason: string) => void;
  #worker: Worker | null = null;
  #stopping = false;

  constructor(file: URL, listener: (message: EndingsMessage) => void, onTrouble: (reason: string) => void) {
    this.#file = file;
    this.#listener = listener;
    this.#onTrouble = onTrouble;
  }

  /** Resolves when it listens: no ending after that is missed unless the kernel says so. */
  start(): Promise<void> {
    const worker = new Worker(this.#file, {
      workerData: { stopFd: this.#stop.fd },
      name: "conntrack-endings",
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", () => {
        worker.off("error", reject);
        worker.on("message", this.#listener);
        worker.on("error", (error) => this.#again(error.message));
        resolve();
      });
    });
  }

  /** A reader that died costs end records, never enforcement. */
  #again(reason: string): void {
    if (this.#stopping) return;
    this.#onTrouble(reason);
    setTimeout(() => {
      if (!this.#stopping) this.start().catch((error: unknown) => this.#again(String(error)));
    }, RESTART_AFTER_MS);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    if (worker === null) return;
    const exited = new Promise((resolve) => worker.once("exit", resolve));
    this.#stop.signal();
    await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, STOP_LIMIT_MS).unref())]);
    await worker.terminate();
    this.#stop.close();
  }
}
