import { randomInt } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { FlowEvent } from "../flow/event.ts";
import { createRing, RingReader } from "../flow/ring.ts";
import { close, dup2, MSG_DONTWAIT, MSG_NOSIGNAL, send } from "../kernel/libc.ts";
import { EventFd } from "../kernel/poller.ts";
import type { AgentConfig } from "../model/config.ts";
import type { Generation } from "../model/verdict.ts";
import type { Binding } from "../names/table.ts";
import type { ProgramData } from "../program/layout.ts";
import type { HostPod } from "./host-network/border.ts";
import { type FromLane, type LaneStart, PULSE, PULSE_SLOTS, type ToLane } from "./lane-messages.ts";
import type { Logger } from "./log.ts";

/** Virtual: the ring touches a megabyte of it as long as its reader keeps up. A second of 100,000 records fits. */
const RING_BYTES = 32 * 1024 * 1024;
const READ_EVERY_MS = 20;
/** The main thread reads no longer than this without a turn for others. */
const SLICE_MS = 8;
/** Records between two looks at the clock. */
const SLICE_RECORDS = 64;
/** So full a ring is emptied even if the flow log is behind: what it loses then is only lines. */
const URGENT_FILL = 0.5;
const PULSE_CHECK_MS = 250;
/** A lane whose pulse stands still in so many checks in a row hangs: it gives no verdicts, so it is replaced. */
const HANG_AFTER_BEATS = 4;
/** A lane that cannot be replaced within this time: the supervisor may start the whole agent anew. */
const REPLACE_LIMIT_MS = 10_000;
const BEAT = new Uint8Array(1);
const END_LIMIT_MS = 1_000;
/** A lane that wants more heap than this ends alone, and is replaced; the records of flows live with the main thread. */
const LANE_HEAP_MIB = 1_024;
/** Nearly all it makes dies at once: more room for that costs memory under load, and makes each collection longer. */
const LANE_YOUNG_MIB = 48;
const START_LIMIT_MS = 5_000;

export interface LaneListener {
  /** The event is borrowed until the call returns. */
  onEvent(event: FlowEvent): void;
  /** Lines come faster than they can be written: what can wait in the ring should. */
  readonly behind: boolean;
  /** Every so often, when all records have been handed over. False: there is more to do, soon. */
  onDrained(until: number): boolean;
  onLost(count: number): void;
  onMessage(message: FromLane): void;
  /** What a lane that is being started knows of names. */
  bindings(): readonly Binding[];
  /** The lane died or hung; a new one is being started. */
  onReplaced(reason: string): void;
}

/** What a lane is told to run. */
export interface LaneInput {
  readonly program: ProgramData;
  readonly config: AgentConfig;
  readonly hostPods: readonly HostPod[];
  readonly generation: Generation;
  /** The agent before this one listens too. */
  readonly former: boolean;
  readonly adopting: boolean;
  /** Names this run of the agent in flow ids. */
  readonly run: string;
  /** Where the lane tells the supervisor that it lives; -1: nobody listens. */
  readonly beatDescriptor: number;
  /** File of the request boundaries; null: there is no folder for it. */
  readonly boundaries: string | null;
}

/**
 * The main thread's end of the packet lane: starts it, reads its records, watches its pulse and replaces it when it
 * dies or hangs. While there is no lane the kernel drops what it would have asked: nothing opens.
 */
export class LaneHandle {
  readonly #workerFile: URL;
  readonly #listener: LaneListener;
  readonly #log: Logger;
  readonly #wake = new EventFd();
  readonly #seed = randomInt(0x7fffffff);
  readonly #heapMiB: number;
  #input: LaneInput;
  #worker: Worker | null = null;
  #descriptors: readonly number[] = [];
  #reader: RingReader | null = null;
  #pulse: Float64Array = new Float64Array(PULSE_SLOTS);
  #lastLoops = -1;
  #missedBeats = 0;
  /** The lane has bound its queues. */
  #ready = false;
  #notReadySince = 0;
  #timers: NodeJS.Timeout[] = [];
  #stopping = false;
  /** Another slice of records is due in the next turn. */
  #again = false;
  #lostBefore = 0;
  #nextFlowId = 1;
  restarts = 0;

  constructor(workerFile: URL, input: LaneInput, listener: LaneListener, log: Logger, heapMiB = LANE_HEAP_MIB) {
    this.#workerFile = workerFile;
    this.#input = input;
    this.#listener = listener;
    this.#log = log;
    this.#heapMiB = heapMiB;
  }

  get pulse(): Float64Array {
    return this.#pulse;
  }

  /** It holds its queues, and its pulse has not stood still for two checks. */
  get alive(): boolean {
    if (!this.#ready) return false;
    return this.#pulse[PULSE.loops] !== this.#lastLoops || this.#missedBeats < 2;
  }

  /** Resolves when the queues are bound; rejects when they cannot be. */
  async start(): Promise<void> {
    await this.#spawn();
    this.#timers = [
      setInterval(() => this.#readSlice(), READ_EVERY_MS),
      setInterval(() => this.#checkPulse(), PULSE_CHECK_MS),
    ];
  }

  /** Hands over a new epoch; it is adopted between two batches. */
  setProgram(program: ProgramData, config: AgentConfig, hostPods: readonly HostPod[] = []): void {
    this.#input = { ...this.#input, program, config, hostPods };
    this.send({ kind: "program", program, config, hostPods });
  }

  send(message: ToLane): void {
    if (message.kind === "adopted") this.#input = { ...this.#input, adopting: false };
    if (message.kind === "alone") this.#input = { ...this.#input, former: false };
    this.#worker?.postMessage(message);
    this.#wake.signal();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    const worker = this.#worker;
    if (worker !== null) {
      const exited = new Promise((resolve) => worker.once("exit", resolve));
      this.send({ kind: "stop" });
      await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, END_LIMIT_MS).unref())]);
      await ended(worker);
    }
    this.readRecords();
    this.#wake.close();
  }

  async #spawn(): Promise<void> {
    const ring = createRing(RING_BYTES);
    const pulse = new SharedArrayBuffer(PULSE_SLOTS * 8);
    const start: LaneStart = {
      ...this.#input,
      bindings: this.#listener.bindings(),
      ring,
      pulse,
      wakeFd: this.#wake.fd,
      seed: this.#seed,
      firstFlowId: this.#nextFlowId,
    };
    const resourceLimits = { maxOldGenerationSizeMb: this.#heapMiB, maxYoungGenerationSizeMb: LANE_YOUNG_MIB };
    const worker = new Worker(this.#workerFile, { workerData: start, name: "packet-lane", resourceLimits });
    this.#worker = worker;
    this.#reader = new RingReader(ring);
    this.#pulse = new Float64Array(pulse);
    this.#lostBefore = 0;
    this.#lastLoops = -1;
    this.#missedBeats = 0;
    try {
      await this.#bound(worker);
    } catch (error) {
      this.#worker = null;
      await ended(worker);
      throw error;
    }
    this.#ready = true;
    worker.on("message", (message: FromLane) => this.#listener.onMessage(message));
    worker.on("error", (error) => void this.#replace(worker, error.message));
    worker.on("exit", (code) => void this.#replace(worker, `exit ${code}`));
  }

  #bound(worker: Worker): Promise<void> {
    return new Promise((resolve, reject) => {
      // Not all listeners: with them would go those by which Node starts the port again for the next one.
      const forget = (): void => {
        clearTimeout(timer);
        worker.off("error", failed).off("exit", exited).off("message", bound);
      };
      const failed = (error: Error): void => {
        forget();
        reject(error);
      };
      const exited = (code: number): void => failed(new Error(`the packet lane ended with ${code} before it began`));
      const bound = (message: FromLane): void => {
        forget();
        if (message.kind === "bound") this.#descriptors = message.fds;
        resolve();
      };
      const timer = setTimeout(() => failed(new Error("the packet lane did not start in time")), START_LIMIT_MS);
      worker.once("error", failed);
      worker.once("exit", exited);
      worker.once("message", bound);
    });
  }

  /** Replaces a lane that works, because it has to be made anew. */
  async renew(reason: string): Promise<void> {
    if (this.#worker !== null) await this.#replace(this.#worker, reason);
  }

  async #replace(worker: Worker, reason: string): Promise<void> {
    if (this.#stopping || !this.#ready || worker !== this.#worker) return;
    this.#worker = null;
    this.#ready = false;
    this.#notReadySince = performance.now();
    this.restarts++;
    this.#log.error({ event: "lane-replaced", reason, restarts: this.restarts }, "packet lane is replaced");
    worker.removeAllListeners();
    worker.on("error", () => undefined);
    // The sockets belong to the process and keep the queues bound; closing them returns what waits to the kernel, which drops it.
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    if (await ended(worker)) for (const fd of descriptors) close(fd);
    else keepNumbers(worker, descriptors);
    this.readRecords();
    for (let wait = 50; !this.#stopping; wait = Math.min(wait * 2, 2_000)) {
      try {
        await this.#spawn();
        return this.#listener.onReplaced(reason);
      } catch (error) {
        this.#log.error(
          { event: "lane-start-failed", error: String(error) },
          "packet lane does not start; trying again",
        );
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #checkPulse(): void {
    const worker = this.#worker;
    this.#tellSupervisor();
    if (worker === null || !this.#ready) return;
    const loops = this.#pulse[PULSE.loops]!;
    // Checks are counted, not time: after the whole process or machine stood still, the lane gets its time to go on.
    if (loops !== this.#lastLoops) {
      this.#lastLoops = loops;
      this.#missedBeats = 0;
    } else if (++this.#missedBeats > HANG_AFTER_BEATS) void this.#replace(worker, "no pulse");
  }

  /** A lane that hangs is replaced from here, which takes longer than the supervisor waits; but not for ever. */
  #tellSupervisor(): void {
    const { beatDescriptor } = this.#input;
    const replacing = !this.#ready && performance.now() - this.#notReadySince > REPLACE_LIMIT_MS;
    if (beatDescriptor >= 0 && !replacing) send(beatDescriptor, BEAT, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  /** Hands over the events that are in the ring, all at once. */
  readRecords(): void {
    this.#read(Number.POSITIVE_INFINITY);
  }

  /** The same, with turns for others in between: resolves when all is read that was there at the call. */
  async drained(): Promise<void> {
    while (!this.#read(performance.now() + SLICE_MS)) await new Promise((resolve) => setImmediate(resolve));
  }

  /** One slice; the rest in the next turn of the event loop, so that nothing else waits long however much there is. */
  #readSlice(): void {
    if (this.#again) return;
    if (this.#listener.behind && (this.#reader?.fill ?? 0) < URGENT_FILL) return;
    const until = performance.now() + SLICE_MS;
    if (this.#read(until) && this.#listener.onDrained(until)) return;
    this.#again = true;
    setImmediate(() => {
      this.#again = false;
      if (!this.#stopping) this.#readSlice();
    });
  }

  /** False: it was `until` before all was read. */
  #read(until: number): boolean {
    const reader = this.#reader;
    if (reader === null) return true;
    let left = SLICE_RECORDS;
    let event = reader.read();
    for (; event !== null; event = reader.read()) {
      this.#nextFlowId = Math.max(this.#nextFlowId, event.flowId + 1);
      this.#listener.onEvent(event);
      if (--left > 0) continue;
      left = SLICE_RECORDS;
      if (performance.now() >= until) break;
    }
    const lost = reader.lost();
    if (lost > this.#lostBefore) this.#listener.onLost(lost - this.#lostBefore);
    this.#lostBefore = lost;
    return event === null;
  }
}

/** Ends a worker. One that is stuck in the kernel, or gets no turn, is waited for only so long; false: it has not ended. */
async function ended(worker: Worker): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), END_LIMIT_MS).unref());
  return Promise.race([worker.terminate().then(() => true), late]);
}

/**
 * Lets go of what descriptors lead to, and of their numbers when the thread that has them has ended. Until then it may still write to them: to the
 * queues of the next lane, if those had got their numbers, in answer to packets that it has never seen.
 */
function keepNumbers(worker: Worker, descriptors: readonly number[]): void {
  const nothing = openSync("/dev/null", "r");
  for (const fd of descriptors) dup2(nothing, fd);
  closeSync(nothing);
  void worker.terminate().then(() => {
    for (const fd of descriptors) close(fd);
  });
}
