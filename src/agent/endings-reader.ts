import { Worker } from "node:worker_threads";
import type { FlowEnding } from "../flow/ending.ts";
import { createEndingRing, EndingReader } from "../flow/ending-ring.ts";
import { EventFd } from "../kernel/poller.ts";
import type { EndingsStart } from "./events-worker.ts";

const STOP_LIMIT_MS = 1_000;
const RESTART_AFTER_MS = 500;

/** Endings between two looks at the clock. */
const SLICE = 32;
/** What it reads dies at once. */
const YOUNG_MIB = 24;

/** The main thread's end of the reader of conntrack endings. */
export class EndingsReader {
  readonly #file: URL;
  #ring: EndingReader | null = null;
  /** Of readers that have died; the death of one is one more. */
  #overrunsBefore = 0;
  readonly #stop = new EventFd();
  readonly #onTrouble: (reason: string) => void;
  #worker: Worker | null = null;
  #stopping = false;

  constructor(file: URL, onTrouble: (reason: string) => void) {
    this.#file = file;
    this.#onTrouble = onTrouble;
  }

  /** Resolves when it listens: no ending after that is missed unless the kernel says so. */
  start(): Promise<void> {
    const ring = createEndingRing();
    const worker = new Worker(this.#file, {
      workerData: { stopFd: this.#stop.fd, ring } satisfies EndingsStart,
      name: "conntrack-endings",
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.once("error", reject);
      worker.once("message", () => {
        worker.off("error", reject);
        worker.on("error", (error) => this.#again(error.message));
        if (this.#ring !== null) this.#overrunsBefore = this.overruns + 1;
        this.#ring = new EndingReader(ring);
        resolve();
      });
    });
  }

  /** Times that endings were lost: the kernel dropped some because nobody read fast enough, or the reader died. */
  get overruns(): number {
    return this.#overrunsBefore + (this.#ring?.overruns ?? 0);
  }

  /** Those of them that are over: what has ended since was told of. */
  get overrunsOver(): number {
    return this.#overrunsBefore + (this.#ring?.overrunsOver ?? 0);
  }

  /** Hands over the endings that are there, each borrowed until the call returns. False: it was `until` (performance.now()) before all were. */
  read(until: number, each: (ending: FlowEnding) => void): boolean {
    const ring = this.#ring;
    if (ring === null) return true;
    for (let ending = ring.read(), left = SLICE; ending !== null; ending = ring.read()) {
      each(ending);
      if (--left > 0) continue;
      left = SLICE;
      if (performance.now() >= until) return false;
    }
    return true;
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
