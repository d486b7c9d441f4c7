import type { FlowTuple } from "../../flow/event.ts";
import type { Address } from "../../net/address.ts";
import { TCP } from "../../net/ports.ts";

interface Known {
  readonly number: number;
  readonly client: Address;
}

/** Of one pod; it may have 4,096 that are looked at (AgentConfig.limits.lookingFlows). The oldest makes room: its answers are dropped until the pod sends again. */
const MOST_OF_POD = 8_192;

/**
 * Which pod of the host's network asked, for the answers: those bear no tag. Of TCP the whole tuple tells, for two processes may use one port towards two
 * servers; of all else the node's address and port, for the answer may come from another address than was asked (a DNS question is seen before
 * translation).
 */
export class HostFlows {
  readonly #known = new Map<string, Known>();
  /** By pod, those last sent by last. */
  readonly #ofPod = new Map<number, Set<string>>();

  note(number: number, tuple: FlowTuple, client: Address): void {
    const name = nameOf(tuple);
    const before = this.#known.get(name);
    if (before !== undefined) this.#ofPod.get(before.number)?.delete(name);
    this.#known.set(name, { number, client });
    let own = this.#ofPod.get(number);
    if (own === undefined) {
      own = new Set();
      this.#ofPod.set(number, own);
    }
    own.add(name);
    if (own.size <= MOST_OF_POD) return;
    const [first] = own;
    own.delete(first!);
    this.#known.delete(first!);
  }

  /** The address that stands for whoever opened it; null: none of these pods. */
  clientOf(tuple: FlowTuple): Address | null {
    return this.#known.get(nameOf(tuple))?.client ?? null;
  }

  /** Forgets all other pods. */
  keep(numbers: ReadonlySet<number>): void {
    for (const [number, names] of this.#ofPod) {
      if (numbers.has(number)) continue;
      for (const name of names) this.#known.delete(name);
      this.#ofPod.delete(number);
    }
  }
}

function nameOf({ protocol, client: c, clientPort, server: s, serverPort }: FlowTuple): string {
  const client = `${protocol} ${clientPort} ${c.w0} ${c.w1} ${c.w2} ${c.w3}`;
  return protocol === TCP ? `${client} ${serverPort} ${s.w0} ${s.w1} ${s.w2} ${s.w3}` : client;
}
