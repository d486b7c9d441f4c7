/**
 * What is lost when records come fast: `node bench/record-storm.ts [PER_SECOND=80000] [SECONDS=60] [FOLDER=/tmp]`. A thread in the place of the lane
 * writes so many (nine requests, then a new flow), the agent's own handle of the lane reads them, and they go to open flows, journal and log.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { LaneHandle, type LaneInput, type LaneListener } from "../src/agent/lane-handle.ts";
import { PULSE } from "../src/agent/lane-messages.ts";
import { createLogger } from "../src/agent/log.ts";
import { Recorder } from "./record-cases.ts";

const rate = Number(process.argv[2] ?? 80_000);
const seconds = Number(process.argv[3] ?? 60);
const folder = mkdtempSync(join(process.argv[4] ?? "/tmp", "record-storm-"));
const recorder = new Recorder(join(folder, "flows.jsonl"), join(folder, "state"));
let lost = 0;
const listener: LaneListener = {
  onEvent: (event) => recorder.onEvent(event),
  get behind() {
    return recorder.log.behind;
  },
  onDrained: () => true,
  onLost: (count) => {
    lost += count;
  },
  onMessage: () => undefined,
  bindings: () => [],
  onReplaced: (reason) => console.error(`the lane was replaced: ${reason}`),
};
const input = { program: {}, config: {}, generation: 0, former: false, adopting: false, run: String(rate) };
const file = new URL("./storm-lane.ts", import.meta.url);
const lane = new LaneHandle(file, { ...input, beatDescriptor: -1 } as LaneInput, listener, createLogger("silent"));
await lane.start();
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const begun = process.cpuUsage();
let most = 0;
for (let second = 0; second < seconds; second++) {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  most = Math.max(most, recorder.sink.counts.pendingBytes);
}
const { user, system } = process.cpuUsage(begun);
delay.disable();
const written = lane.pulse[PULSE.packets]!;
await lane.stop();
await recorder.close();
const { lost: lines } = recorder.sink.counts;
console.log(
  `${(written / seconds).toFixed(0)} records/s for ${seconds} s: ${lost} lost in the ring, ${lines} for the disk; the main thread's longest turn ${(delay.max / 1e6).toFixed(0)} ms, 99 % ${(delay.percentile(99) / 1e6).toFixed(0)} ms; most that waited for the disk ${(most / 1048576).toFixed(1)} MiB; processor ${((user + system) / seconds / 10_000).toFixed(0)} % of a core, the writing thread in it`,
);
rmSync(folder, { recursive: true, force: true });
