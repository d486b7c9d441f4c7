/**
 * A packet lane that misbehaves. `run` is `MODE FILE`; a byte is written to the file at each start, so that only the first
 * ones misbehave: `crash` throws, `exit` ends, `hang` never comes back, `memory` takes all it gets, `late` cannot start twice, `good` is good.
 */
import { appendFileSync, closeSync, openSync, statSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { type LaneStart, PULSE } from "../../src/agent/lane-messages.ts";

const start = workerData as LaneStart;
const [mode = "", file = ""] = start.run.split(" ");
appendFileSync(file, "x");
const starts = statSync(file).size;
const port = parentPort;
if (port === null) throw new Error("not in a worker");
if (mode === "late" && starts > 1 && starts < 4) throw new Error("cannot bind");

const fds = [openSync(file, "r"), openSync(file, "r")];
for (const fd of fds.slice(1)) closeSync(fd);
port.postMessage({ kind: "bound", fds: fds.slice(0, 1) });
port.on("message", (message: { kind: string; program?: { epoch?: number } }) => {
  if (message.kind === "program") port.postMessage({ kind: "adopted", epoch: starts });
  if (message.kind === "stop") process.exit(0);
});
const pulse = new Float64Array(start.pulse);
setInterval(() => {
  pulse[PULSE.loops]!++;
}, 50);
if (starts === 1) {
  setTimeout(() => {
    if (mode === "crash" || mode === "late") throw new Error("a fault in the lane");
    if (mode === "exit") process.exit(3);
    if (mode === "hang") for (;;);
    if (mode === "memory") for (let kept: unknown = null; ; ) kept = { kept, more: Array(16).fill(kept) };
  }, 300);
}
