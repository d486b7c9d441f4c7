import { randomBytes } from "node:crypto";
import { lostRecordOf } from "../flow/describe.ts";
import type { FlowEnding } from "../flow/ending.ts";
import type { FlowEvent } from "../flow/event.ts";
import { formatLine } from "../flow/line.ts";
import { type EndCounts, LineWriter } from "../flow/line-writer.ts";
import { EventPacker, PackedEvent } from "../flow/packed-event.ts";
import type { Workload } from "../model/workload.ts";
import type { FlowSink, FlowSinkCounts } from "./flow-sink.ts";

/** Workloads that are gone are remembered this long in number, for records that come after them. */
const GONE_MOST = 4096;

/** Turns events into lines of the flow log: knows who the workloads are and which run of the agent this is. */
export class FlowLog {
  readonly run = randomBytes(4).toString("hex");
  readonly #sink: FlowSink | null;
  readonly #lines = new LineWriter();
  readonly #packer = new EventPacker();
  #workloads = new Map<number, Workload>();
  readonly #gone = new Map<number, Workload>();
  /** Told of each denial of a known workload; the event is borrowed. */
  onDenial: ((event: FlowEvent, workload: Workload) => void) | null = null;
  /** Told of each decision, of whatever workload. */
  onFlow: ((workloadId: number) => void) | null = null;

  constructor(sink: FlowSink | null) {
    this.#sink = sink;
  }

  /** Lines of this run; null when there is no flow log. */
  get counts(): FlowSinkCounts | null {
    return this.#sink?.counts ?? null;
  }

  /** Lines come faster than they can be written. */
  get behind(): boolean {
    return this.#sink?.behind ?? false;
  }

  setWorkloads(workloads: readonly Workload[]): void {
    const now = new Map(workloads.map((workload) => [workload.id, workload]));
    for (const [id, workload] of this.#workloads) if (!now.has(id)) this.#gone.set(id, workload);
    while (this.#gone.size > GONE_MOST) this.#gone.delete(this.#gone.keys().next().value as number);
    this.#workloads = now;
  }

  /** `run`: the run of the agent that numbered the flow. */
  event(event: FlowEvent, run = this.run): void {
    this.onFlow?.(event.workloadId);
    if (this.onDenial !== null && event.decision.action === "Deny") this.#tellDenial(event);
    const sink = this.#sink;
    if (sink === null) return;
    const packed = event instanceof PackedEvent ? event : this.#packer.pack(event);
    const workload = this.#workload(packed.workloadId);
    const page = sink.page(this.#lines.room(packed, workload));
    if (page === null) return;
    this.#lines.event(page, packed, workload, run);
    sink.written(page);
  }

  /** `flow`: as it was decided; `ending` null: nobody knows how it ended; `run`: of the agent that numbered it. */
  ended(flow: PackedEvent, ending: FlowEnding | null, time: number, closedBy: string, run = this.run): void {
    const sink = this.#sink;
    if (sink === null) return;
    const workload = this.#workload(flow.workloadId);
    const page = sink.page(this.#lines.room(flow, workload));
    if (page === null) return;
    const counts = ending === null ? null : countsOf(ending, time - flow.time);
    this.#lines.end(page, flow, { time, closedBy, counts }, workload, run);
    sink.written(page);
  }

  #tellDenial(event: FlowEvent): void {
    const workload = this.#workload(event.workloadId);
    if (workload !== null) this.onDenial?.(event, workload);
  }

  lost(count: number): void {
    this.#sink?.countLost(count);
  }

  async close(): Promise<void> {
    await this.#sink?.close();
  }

  async reopen(): Promise<void> {
    await this.#sink?.reopen();
  }

  #workload(id: number): Workload | null {
    return this.#workloads.get(id) ?? this.#gone.get(id) ?? null;
  }
}

/** `age`: milliseconds since the decision, for where conntrack notes no times. */
function countsOf(ending: FlowEnding, age: number): EndCounts {
  const { sentPackets, sentBytes, receivedPackets, receivedBytes } = ending;
  const durationMs = Math.round(ending.durationMs > 0 ? ending.durationMs : Math.max(0, age));
  return { sentPackets, sentBytes, receivedPackets, receivedBytes, durationMs };
}

/** The line that stands where `count` others are missing. */
export function lostLine(count: number): string {
  return formatLine(lostRecordOf(count, Date.now()));
}
