import { parentPort, workerData } from "node:worker_threads";
import { ConntrackEndings } from "../kernel/conntrack.ts";
import { EventFd, Poller } from "../kernel/poller.ts";
import { endingOf, type FlowEnding } from "./flow-ending.ts";
import { conntrackPatience } from "./patience.ts";

export interface EndingsMessage {
  readonly endings: readonly FlowEnding[];
  /** Times that the kernel dropped endings because nobody read fast enough; monotonic. */
  readonly overruns: number;
}

/** Reads the endings of flows in a thread of its own, so that a storm of them never delays a verdict. */
function run(stopFd: number): void {
  const port = parentPort;
  if (port === null) throw new Error("the reader of conntrack endings runs in a worker of the agent");
  const source = new ConntrackEndings();
  const patience = conntrackPatience();
  const stop = new EventFd(stopFd);
  const poller = new Poller([source.fd, stopFd]);
  port.postMessage({ endings: [], overruns: 0 } satisfies EndingsMessage);
  for (;;) {
    if ((poller.wait(-1) & 2) !== 0 && stop.drain()) break;
    const endings: FlowEnding[] = [];
    source.drain((entry) => {
      endings.push(endingOf(entry, patience));
    });
    if (endings.length > 0) port.postMessage({ endings, overruns: source.overruns } satisfies EndingsMessage);
  }
  source.close();
  port.close();
}

run((workerData as { stopFd: number }).stopFd);
