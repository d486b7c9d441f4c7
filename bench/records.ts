/**
 * What a flow record costs after the lane has handed it over: `node bench/records.ts [FILE]`. A thread fills the ring as a lane would; this one
 * does with it what the agent's main thread does (counts, open flows, journal, lines to FILE) and is paid in processor time. Nanoseconds a
 * request, and a short flow: its opening, its end, the journal's records of both and two lines.
 */
import { rmSync } from "node:fs";
import type { FlowEnding } from "../src/flow/ending.ts";
import { createEndingRing, EndingReader, EndingWriter } from "../src/flow/ending-ring.ts";
import type { FlowEvent } from "../src/flow/event.ts";
import { createRing, RingReader, RingWriter } from "../src/flow/ring.ts";
import { inPlace } from "../src/kernel/marks.ts";
import { STATE } from "../src/model/verdict.ts";
import { flow, MARKS, Recorder, request } from "./record-cases.ts";

const FLOWS = process.argv[2] ?? "/tmp/bench-records.jsonl";
const STATE_FOLDER = "/tmp/bench-records-state";
const STEP = 1_000;

function ending(of: FlowEvent): FlowEnding {
  return {
    flow: of.tuple,
    asked: of.tuple.server,
    askedPort: of.tuple.serverPort,
    stop: Date.now() + 1_000,
    mark: inPlace(MARKS, STATE.allowed),
    sentPackets: 6,
    sentBytes: 900,
    receivedPackets: 5,
    receivedBytes: 1_800,
    durationMs: 1_040,
    lastSeen: "closed",
  };
}

class Path {
  readonly #ring = createRing(1 << 23);
  readonly #writer = new RingWriter(this.#ring);
  readonly #reader = new RingReader(this.#ring);
  readonly #endingRing = createEndingRing();
  readonly #endings = new EndingWriter(this.#endingRing);
  readonly #ended = new EndingReader(this.#endingRing);
  readonly recorder = new Recorder(FLOWS, STATE_FOLDER);
  written = 0;

  /** In the lane's thread. */
  write(events: readonly FlowEvent[]): void {
    for (const event of events) if (this.#writer.write(event)) this.written++;
  }

  /** In the main thread. */
  read(): void {
    for (let event = this.#reader.read(); event !== null; event = this.#reader.read()) this.recorder.onEvent(event);
  }

  /** In the thread that reads endings. */
  ended(endings: readonly FlowEnding[]): void {
    for (const ending of endings) this.#endings.write(ending, () => false);
  }

  end(): void {
    for (let one = this.#ended.read(); one !== null; one = this.#ended.read()) this.recorder.open.onEnding(one);
  }
}

/** Processor time of this process while `work` runs, the threads that write files included. */
async function timed(spent: { total: number }, work: () => void): Promise<void> {
  const begun = process.cpuUsage();
  work();
  await new Promise((resolve) => setImmediate(resolve));
  const { user, system } = process.cpuUsage(begun);
  spent.total += (user + system) * 1000;
}

async function measure(title: string, total: number, make: (id: number) => FlowEvent, ends: boolean): Promise<void> {
  const path = new Path();
  const write = { total: 0 };
  const read = { total: 0 };
  const end = { total: 0 };
  for (let at = 1; at < total; at += STEP) {
    const events = Array.from({ length: STEP }, (_, i) => make(at + i));
    const endings = ends ? events.map(ending) : [];
    await timed(write, () => path.write(events));
    await timed(read, () => path.read());
    path.ended(endings);
    if (ends) await timed(end, () => path.end());
    // As the lane's handle does: what cannot be written yet waits in the ring.
    while (path.recorder.sink.counts.pendingBytes > 1 << 22) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const rest = { total: 0 };
  const begun = process.cpuUsage();
  await path.recorder.close();
  const { user, system } = process.cpuUsage(begun);
  rest.total = (user + system) * 1000;
  const each = (of: { total: number }) => (of.total / total).toFixed(0).padStart(6);
  console.log(
    `${title.padEnd(20)} ns: write (lane) ${each(write)}, read${each(read)}, end${each(end)}, rest${each(rest)}; lost ${total - path.written + path.recorder.sink.counts.lost}`,
  );
}

for (let round = 0; round < 3; round++) {
  await measure("a request", 200_000, request, false);
  await measure("a short flow", 100_000, flow, true);
}
for (const path of [FLOWS, `${FLOWS}.1`, STATE_FOLDER]) rmSync(path, { recursive: true, force: true });
