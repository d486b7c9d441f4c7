import type { FlowTuple } from "../flow/event.ts";
import type { ConntrackSocket } from "../kernel/conntrack.ts";
import { buildTcp } from "../packet/build.ts";
import { PROTOCOL } from "../packet/ip.ts";
import type { Injector } from "./injector.ts";

const ACK = 0x10;
/** Half the sequence space apart: whatever the receive window, one of them lies outside. */
const PROBE_SEQUENCES = [1, 0x8000_0001];

/**
 * Ends open flows: marks their entries rejected, then makes both ends speak. A bare ACK outside the window is answered
 * with the true sequence numbers (RFC 9293 §3.10.7.4); that answer meets the mark and nft resets exactly that end. Nobody
 * has to know a sequence number, and an idle flow ends as fast as a busy one.
 */
export class FlowEnder {
  readonly #conntrack: ConntrackSocket;
  readonly #injector: Injector;
  readonly #rejectedMark: number;
  readonly #markMask: number;

  constructor(conntrack: ConntrackSocket, injector: Injector, rejectedMark: number, markMask: number) {
    this.#conntrack = conntrack;
    this.#injector = injector;
    this.#rejectedMark = rejectedMark;
    this.#markMask = markMask;
  }

  /** Marks and probes one flow; false when conntrack no longer knows it. */
  end(flow: FlowTuple): boolean {
    const entry = this.#conntrack.findFlow(flow);
    if (entry === null) return false;
    this.#conntrack.setMark(entry.original, this.#rejectedMark, this.#markMask);
    if (flow.protocol === PROTOCOL.tcp) this.#probe(flow);
    return true;
  }

  #probe(flow: FlowTuple): void {
    for (const seq of PROBE_SEQUENCES) {
      const parts = { seq, ack: 1, flags: ACK, window: 1024 };
      const towardsClient = buildTcp({
        ...parts,
        source: flow.server,
        sourcePort: flow.serverPort,
        destination: flow.client,
        destinationPort: flow.clientPort,
      });
      const towardsServer = buildTcp({
        ...parts,
        source: flow.client,
        sourcePort: flow.clientPort,
        destination: flow.server,
        destinationPort: flow.serverPort,
      });
      this.#injector.inject(towardsClient, "client");
      this.#injector.inject(towardsServer, "server");
    }
  }
}
