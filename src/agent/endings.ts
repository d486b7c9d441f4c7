import type { FlowTuple } from "../flow/event.ts";
import type { Conntrack } from "../kernel/conntrack.ts";
import type { ConntrackEntry } from "../kernel/conntrack-entry.ts";
import { inPlace, type MarkLayout, stateOf } from "../kernel/marks.ts";
import { STATE } from "../model/verdict.ts";
import { buildTcp } from "../packet/build.ts";
import { PROTOCOL } from "../packet/ip.ts";
import type { Injector } from "./injector.ts";
import { findEntry } from "./translation.ts";

const ACK = 0x10;
/** Half the sequence space apart: whatever the receive window, one of them lies outside. */
const PROBE_SEQUENCES = [1, 0x8000_0001];

/**
 * Ends open flows: marks their entries rejected, then makes both ends speak. A bare ACK outside the window is answered
 * with the true sequence numbers (RFC 9293 §3.10.7.4); that answer meets the mark and nft resets exactly that end. Nobody
 * has to know a sequence number, and an idle flow ends as fast as a busy one.
 */
export class FlowEnder {
  readonly #conntrack: Conntrack;
  readonly #injector: Injector;
  readonly #marks: MarkLayout;

  constructor(conntrack: Conntrack, injector: Injector, marks: MarkLayout) {
    this.#conntrack = conntrack;
    this.#injector = injector;
    this.#marks = marks;
  }

  /** Marks and probes one flow. Returns its entry as it was, or null when conntrack no longer knows it. */
  end(flow: FlowTuple): ConntrackEntry | null {
    const entry = this.find(flow);
    if (entry === null) return null;
    this.#conntrack.setMark(entry.original, inPlace(this.#marks, STATE.rejected), this.#marks.mask);
    if (flow.protocol === PROTOCOL.tcp) this.#probe(flow);
    // A record of the server that was being judged at that moment may have written `allowed` over it.
    if (stateOf(this.#marks, entry.mark) === STATE.proving) {
      this.#conntrack.setMark(entry.original, inPlace(this.#marks, STATE.rejected), this.#marks.mask);
    }
    return entry;
  }

  /** The entry of a flow as it is now; null when conntrack does not know it. */
  find(flow: FlowTuple): ConntrackEntry | null {
    return findEntry(this.#conntrack, flow);
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
