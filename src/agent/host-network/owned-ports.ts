import { UDP } from "../../net/ports.ts";

/** Of other protocols than UDP: ICMP has a few kinds. */
const MOST_OTHERS = 4_096;

/** What the kernel keeps of an answer to a pod of the host's network: `host_owners` of ruleset-host.ts. */
export interface OwnedPort {
  readonly protocol: number;
  /** The first two bytes behind the network header: the local port, or what stands there. */
  readonly port: number;
  /** The tag of the pod that has it, as in a packet's priority. */
  readonly priority: number;
}

/**
 * Which pod of the host's network sent last by a local port, for all that is no TCP. All of these pods, and the node, have one address: what is remembered
 * of a flow must not hold for who has its port next. As many ports as there are, whatever pods do.
 */
export class OwnedPorts {
  readonly #udp = new Uint32Array(0x1_0000);
  readonly #others = new Map<number, number>();

  /** Whose a port is; 0: nobody's. */
  ownerOf(protocol: number, port: number): number {
    return protocol === UDP ? this.#udp[port]! : (this.#others.get(protocol * 0x1_0000 + port) ?? 0);
  }

  /**
   * `taker` has the port from here on. Returns whose it was, null: nobody's else; `all`: what is known is forgotten, so anybody's. Whose it was must not be
   * believed any more before the packet that took it is answered.
   */
  take(protocol: number, port: number, taker: number): OwnedPort | "all" | null {
    const before = this.ownerOf(protocol, port);
    if (before === taker) return null;
    if (protocol === UDP) this.#udp[port] = taker;
    else {
      const full = this.#others.size >= MOST_OTHERS && before === 0;
      if (full) this.#others.clear();
      this.#others.set(protocol * 0x1_0000 + port, taker);
      if (full) return "all";
    }
    return before === 0 ? null : { protocol, port, priority: before };
  }
}
