import { parentPort, workerData } from "node:worker_threads";
import type { FlowTuple } from "../flow/event.ts";
import { ConntrackEndings } from "../kernel/conntrack.ts";
import { EventFd, Poller } from "../kernel/poller.ts";
import { flowOf } from "./translation.ts";

/** The end of a flow, as conntrack counted it. Times in milliseconds; 0 where accounting was off. */
export interface FlowEnding {
  readonly flow: FlowTuple;
  readonly mark: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly durationMs: number;
}

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
  const stop = new EventFd(stopFd);
  const poller = new Poller([source.fd, stopFd]);
  port.postMessage({ endings: [], overruns: 0 } satisfies EndingsMessage);
  for (;;) {
    if ((poller.wait(-1) & 2) !== 0 && stop.drain()) break;
    const endings: FlowEnding[] = [];
    source.drain((entry) => {
      endings.push({
        flow: flowOf(entry),
        mark: entry.mark,
        sentPackets: entry.originalCounters.packets,
        sentBytes: entry.originalCounters.bytes,
        receivedPackets: entry.replyCounters.packets,
        receivedBytes: entry.replyCounters.bytes,
        durationMs: entry.start > 0 && entry.stop > 0 ? entry.stop - entry.start : 0,
      });
    });
    if (endings.length > 0) port.postMessage({ endings, overruns: source.overruns } satisfies EndingsMessage);
  }
  source.close();
  port.close();
}

run((workerData as { stopFd: number }).stopFd);
