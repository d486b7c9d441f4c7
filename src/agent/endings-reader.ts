import { Worker } from "node:worker_threads";
import { EventFd } from "../kernel/poller.ts";
import type { EndingsMessage } from "./events-worker.ts";

const STOP_LIMIT_MS = 1_000;

/** The main thread's end of the reader of conntrack endings. */
export class EndingsReader {
  readonly #file: URL;
  readonly #listener: (message: EndingsMessage) => void;
  readonly #stop = new EventFd();
  #worker: Worker | null = null;

  constructor(file: URL, listener: (message: EndingsMessage) => void) {
    this.#file = file;
    this.#listener = listener;
  }

  /** Resolves when it listens: no ending after that is missed unless the kernel says so. */
  start(): Promise<void> {
    const worker = new Worker(this.#file, { workerData: { stopFd: this.#stop.fd }, name: "conntrack-endings" });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", () => {
        worker.off("error", reject);
        worker.on("message", this.#listener);
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === null) return;
    const exited = new Promise((resolve) => worker.once("exit", resolve));
    this.#stop.signal();
    await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, STOP_LIMIT_MS))]);
    await worker.terminate();
    this.#stop.close();
  }
}
