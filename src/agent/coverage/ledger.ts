import type { FlowEnding } from "../../flow/ending.ts";
import { keyOf as flowKey } from "../../flow/live-flows.ts";
import type { Conntrack } from "../../kernel/conntrack.ts";
import type { Address } from "../../net/address.ts";
import { endingOf } from "../flow-ending.ts";
import { Turns } from "../turns.ts";

/** Packets that pods sent since the last walk, as conntrack has them: no fewer than there were. By the pod's id. */
export interface Census {
  /** To or from others than the node. */
  readonly forwarded: ReadonlyMap<number, number>;
  /** To the node itself. */
  readonly toNode: ReadonlyMap<number, number>;
}

/** Where conntrack does not count: more than a flow has mostly, so that a pod is rather believed than not. */
const UNCOUNTED = 1_000;
/** Flows that are remembered, of all pods together: 3 MiB. The packets of others count from their beginning at every walk, which speaks for their pod. */
const MOST_FLOWS = 16_384;

interface Entry {
  packets: number;
  walk: number;
}

/** As `Map` wants an address. */
export const keyOf = ({ w0, w1, w2, w3 }: Address): string => `${w0} ${w1} ${w2} ${w3}`;

/**
 * What conntrack knows of certain pods, counted from one walk over it to the next: of flows that live by what they had at the last walk, of those that
 * ended meanwhile by their last words, without which a pod that answers with resets would seem to send what nobody knows (conntrack lets go of such a
 * connection at once).
 */
export class Ledger {
  readonly #most: number;
  #pods: ReadonlyMap<string, number> = new Map();
  #nodes: ReadonlySet<string> = new Set();
  /** Of nearly all flows it can be told by this that they are none of them, without making a key. */
  #lasts: ReadonlySet<number> = new Set();
  readonly #flows = new Map<number, Map<string, Entry>>();
  #size = 0;
  #walk = 0;
  #forwarded = new Map<number, number>();
  #toNode = new Map<number, number>();

  constructor(most = MOST_FLOWS) {
    this.#most = most;
  }

  /** These are counted from now on, by `keyOf` of their addresses, and all others forgotten. `nodes`: addresses of the node itself. */
  watch(pods: ReadonlyMap<string, number>, nodes: ReadonlySet<string>): void {
    this.#pods = pods;
    this.#nodes = nodes;
    this.#lasts = new Set([...pods.keys()].map((key) => Number(key.slice(key.lastIndexOf(" ") + 1))));
    const ids = new Set(pods.values());
    for (const [pod, flows] of this.#flows) {
      if (ids.has(pod)) continue;
      this.#size -= flows.size;
      this.#flows.delete(pod);
    }
  }

  /** Walks all of conntrack, in turns with others on this thread. @throws SystemError where the kernel does not answer */
  async walk(conntrack: Pick<Conntrack, "dumpInPieces">): Promise<void> {
    this.#walk++;
    const turns = new Turns();
    for (const family of ["ipv4", "ipv6"] as const) {
      for (const _ of conntrack.dumpInPieces(family, (entry) => this.#count(endingOf(entry), true)))
        if (turns.isOver()) await turns.next();
    }
    // Those whose end nobody told.
    for (const flows of this.#flows.values())
      for (const [key, { walk }] of flows) if (walk !== this.#walk && flows.delete(key)) this.#size--;
  }

  /** A flow has ended; borrowed until the call returns. */
  ended(ending: FlowEnding): void {
    this.#count(ending, false);
  }

  /** What was counted since this was asked last. */
  take(): Census {
    const census = { forwarded: this.#forwarded, toNode: this.#toNode };
    this.#forwarded = new Map();
    this.#toNode = new Map();
    return census;
  }

  #count(
    { flow, sentPackets, receivedPackets }: Pick<FlowEnding, "flow" | "sentPackets" | "receivedPackets">,
    lives: boolean,
  ): void {
    if (!this.#lasts.has(flow.client.w3) && !this.#lasts.has(flow.server.w3)) return;
    const client = this.#pods.get(keyOf(flow.client));
    const server = this.#pods.get(keyOf(flow.server));
    if (client === undefined && server === undefined) return;
    const key = flowKey(flow);
    const counts = sentPackets > 0;
    if (client !== undefined) this.#add(client, flow.server, key, counts ? sentPackets : null, lives);
    if (server !== undefined) this.#add(server, flow.client, key, counts ? receivedPackets : null, lives);
  }

  /** `packets`: since the flow began; null: nobody counts them. */
  #add(pod: number, other: Address, key: string, packets: number | null, lives: boolean): void {
    const sums = this.#nodes.has(keyOf(other)) ? this.#toNode : this.#forwarded;
    const flows = this.#flows.get(pod);
    const known = flows?.get(key);
    const fresh = packets === null ? UNCOUNTED : Math.max(0, packets - (known?.packets ?? 0));
    sums.set(pod, (sums.get(pod) ?? 0) + fresh);
    if (!lives) {
      if (flows?.delete(key)) this.#size--;
    } else if (known !== undefined) {
      known.packets = packets ?? 0;
      known.walk = this.#walk;
    } else if (packets !== null && this.#size < this.#most) this.#remember(pod, key, packets);
  }

  #remember(pod: number, key: string, packets: number): void {
    let flows = this.#flows.get(pod);
    if (flows === undefined) {
      flows = new Map();
      this.#flows.set(pod, flows);
    }
    flows.set(key, { packets, walk: this.#walk });
    this.#size++;
  }
}
