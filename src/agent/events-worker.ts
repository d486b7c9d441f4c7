import { parentPort, workerData } from "node:worker_threads";
import { EndingWriter } from "../flow/ending-ring.ts";
import { ConntrackEndings } from "../kernel/conntrack.ts";
import { EventFd, Poller } from "../kernel/poller.ts";
import { endingOf } from "./flow-ending.ts";
import { conntrackPatience } from "./patience.ts";

export interface EndingsStart {
  readonly stopFd: number;
  /** Where endings are put (flow/ending-ring.ts). */
  readonly ring: SharedArrayBuffer;
}

const REST_MS = 10;

/** Reads the endings of flows in a thread of its own, so that a storm of them never delays a verdict. */
function run({ stopFd, ring }: EndingsStart): void {
  const port = parentPort;
  if (port === null) throw new Error("the reader of conntrack endings runs in a worker of the agent");
  const source = new ConntrackEndings();
  const writer = new EndingWriter(ring);
  const patience = conntrackPatience();
  const stop = new EventFd(stopFd);
  const poller = new Poller([source.fd, stopFd]);
  const rest = new Int32Array(new SharedArrayBuffer(4));
  let stopped = false;
  // The other side may be gone for good: a thread that waits for it must still hear that it is to stop.
  const goOn = (): boolean => {
    stopped ||= stop.drain();
    return !stopped;
  };
  port.postMessage("listening");
  while (!stopped) {
    if ((poller.wait(-1) & 2) !== 0 && !goOn()) break;
    source.drain((entry) => writer.write(endingOf(entry, patience), goOn));
    writer.overruns(source.overruns, source.overrunsOver);
    // Nobody looks before the main thread's next round: one wake-up for many endings instead of one for each.
    if (source.drained) Atomics.wait(rest, 0, 0, REST_MS);
  }
  source.close();
  port.close();
}

run(workerData as EndingsStart);
