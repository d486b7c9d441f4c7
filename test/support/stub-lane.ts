/**
 * A packet lane that misbehaves. `run` is `MODE FILE`; a byte is written to the file at each start, so that only the first
 * ones misbehave: `crash` throws, `exit` ends, `hang` never comes back, `stuck` neither, within the kernel, `memory` takes all it gets, `late` cannot start
 * twice, `good` is good.
 */
import { appendFileSync, statSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import koffi from "koffi";
import { type LaneStart, PULSE } from "../../src/agent/lane-messages.ts";
import { close, poll } from "../../src/kernel/libc.ts";

const start = workerData as LaneStart;
const [mode = "", file = ""] = start.run.split(" ");
appendFileSync(file, "x");
const starts = statSync(file).size;
const port = parentPort;
if (port === null) throw new Error("not in a worker");
if (mode === "late" && starts > 1 && starts < 4) throw new Error("cannot bind");

// As sockets are: Node closes what a worker opened by its own means, and the number would be closed twice.
const open = koffi.load(null).func("int open(const char *path, int flags)") as (path: string, flags: number) => number;
const fds = [open(file, 0), open(file, 0)];
for (const fd of fds.slice(1)) close(fd);
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
    if (mode === "stuck") poll(new Uint8Array(8), 0, 4_000);
    // It lives until there is no more: on a busy machine that takes longer than a lane may be still.
    if (mode === "memory")
      for (let kept: unknown = null; ; pulse[PULSE.loops]!++) kept = { kept, more: Array(16).fill(kept) };
  }, 300);
}
