/** A lane that only records, `run` of them a second: see record-storm.ts. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { type LaneStart, PULSE } from "../src/agent/lane-messages.ts";
import { RingWriter } from "../src/flow/ring.ts";
import { flow, request } from "./record-cases.ts";

const STEP_MS = 5;
const start = workerData as LaneStart;
const port = parentPort;
if (port === null) throw new Error("not in a worker");
const perStep = (Number(start.run) * STEP_MS) / 1000;
const pulse = new Float64Array(start.pulse);
const ring = new RingWriter(start.ring);
const clock = new Int32Array(new SharedArrayBuffer(4));
port.postMessage({ kind: "bound", fds: [] });
let written = 0;
const begun = performance.now();
for (let step = 1; receiveMessageOnPort(port) === undefined; step++) {
  for (let i = 0; i < perStep; i++, written++) ring.write(written % 10 === 0 ? flow(written / 10) : request(written));
  pulse[PULSE.loops]!++;
  pulse[PULSE.packets] = written;
  Atomics.wait(clock, 0, 0, Math.max(1, begun + step * STEP_MS - performance.now()));
}
process.exit(0);
