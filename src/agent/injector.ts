import type { FlowTuple } from "../flow/event.ts";
import { Conntrack } from "../kernel/conntrack.ts";
import { STATUS_DNAT } from "../kernel/conntrack-entry.ts";
import { inPlace, type MarkLayout } from "../kernel/marks.ts";
import { RawSender } from "../kernel/raw-socket.ts";
import { ANSWER } from "../model/verdict.ts";
import type { Address } from "../net/address.ts";
import { replaceEndpoint } from "../packet/build.ts";
import { newPacket, type Packet, PROTOCOL, parsePacket } from "../packet/ip.ts";
import { RateLimit } from "./log.ts";
import { findEntry } from "./translation.ts";

const WALK_INTERVAL_MS = 100;

/**
 * Sends packets that the agent makes itself (docs/adr/0005). Towards the client they are not tracked, so they are
 * written with the address that the client asked; towards the server they are tracked and translated like the flow.
 */
export class Injector {
  readonly #conntrack = new Conntrack();
  readonly #towardsClient: RawSender;
  readonly #towardsServer: RawSender;
  readonly #packet: Packet = newPacket();
  /** A walk over all entries holds the lane up, and a pod can ask for one with each refused flow. */
  readonly #walks = new RateLimit(WALK_INTERVAL_MS);

  constructor(marks: MarkLayout) {
    this.#towardsClient = new RawSender(inPlace(marks, ANSWER.injectedUntracked));
    this.#towardsServer = new RawSender(inPlace(marks, ANSWER.injected));
  }

  /** Packets that could not be sent. */
  get errors(): number {
    return this.#towardsClient.failed + this.#towardsServer.failed;
  }

  inject(bytes: Uint8Array, towards: "client" | "server"): void {
    if (!parsePacket(bytes, 0, bytes.length, this.#packet)) return;
    const asked = this.#asked(towards);
    if (towards === "client") {
      this.#towardsClient.send(asked === null ? bytes : replaceEndpoint(bytes, "source", asked.address, asked.port));
    } else {
      this.#towardsServer.send(
        asked === null ? bytes : replaceEndpoint(bytes, "destination", asked.address, asked.port),
      );
    }
  }

  close(): void {
    this.#conntrack.close();
    this.#towardsClient.close();
    this.#towardsServer.close();
  }

  /** What the pod asked, where it is not the server that the packet bears; null where nothing was translated. */
  #asked(towards: "client" | "server"): { address: Address; port: number } | null {
    // A datagram is refused by an answer to its first packet, which was seen before translation (docs/adr/0005).
    if (this.#packet.protocol !== PROTOCOL.tcp) return null;
    const flow = flowOfPacket(this.#packet, towards);
    const entry = findEntry(this.#conntrack, flow, () => this.#walks.allow(performance.now()) !== null);
    if (entry === null || (entry.status & STATUS_DNAT) === 0) return null;
    return { address: entry.original.destination, port: entry.original.destinationPort };
  }
}

function flowOfPacket(packet: Packet, towards: "client" | "server"): FlowTuple {
  const source = { w0: packet.s0, w1: packet.s1, w2: packet.s2, w3: packet.s3 };
  const destination = { w0: packet.d0, w1: packet.d1, w2: packet.d2, w3: packet.d3 };
  const ported = packet.protocol === PROTOCOL.tcp || packet.protocol === PROTOCOL.udp;
  const sourcePort = ported ? packet.sourcePort : 0;
  const destinationPort = ported ? packet.destinationPort : 0;
  return towards === "server"
    ? {
        protocol: packet.protocol,
        client: source,
        clientPort: sourcePort,
        server: destination,
        serverPort: destinationPort,
      }
    : {
        protocol: packet.protocol,
        client: destination,
        clientPort: destinationPort,
        server: source,
        serverPort: sourcePort,
      };
}
