import type { FlowEvent, FlowTuple } from "../../flow/event.ts";
import { DROP } from "../../inspector/contract.ts";
import type { PacketBatch } from "../../kernel/queue-batch.ts";
import { bearsHostKey, hostKey, isHostKey } from "../../model/host-pod.ts";
import { ANSWER, FROM_SERVER } from "../../model/verdict.ts";
import type { Address } from "../../net/address.ts";
import { destinationAddress, newPacket, type Packet, PROTOCOL, parsePacket, sourceAddress } from "../../packet/ip.ts";
import { readdress } from "../../packet/readdress.ts";
import { HostFlows } from "./host-flows.ts";
import { HostSlots } from "./host-slots.ts";
import type { OwnedPort } from "./owned-ports.ts";
import { PortKeeper } from "./port-keeper.ts";

/** A pod of the host's network that policies hold: how the kernel names it (`groupTag`), and its number in here. */
export interface HostPod {
  readonly tag: number;
  readonly number: number;
}

/** A queued packet, as the kernel tells of it. Its bytes may be written to. */
export interface BorderPacket {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly length: number;
  /** Netfilter hook. */
  readonly hook: number;
  readonly priority: number;
  readonly fromServer: boolean;
}

/** `host`: of such a pod, and bears the address that stands for it now. `other`: none of theirs. `drop`: it cannot be told. */
export type Admission = "host" | "other" | "drop";

/** Where a waiting packet came from (lane.ts): the strict queue; and there, from or to one of these pods. */
export const STRICT = 0;
export const HOST = 2;
const LOCAL_IN = 1;
const LOCAL_OUT = 3;
const TAG_BIT = 0x8000_0000;

/**
 * Where pods of the host's network get an address of their own: what they send and get bears it on this side only (model/host-pod.ts), so that flow table,
 * names and limits know them apart as they know all pods. Everything that leaves - packets, records, tuples for conntrack - bears the node's address again.
 */
export class HostBorder {
  readonly #numbers = new Map<number, number>();
  readonly #slots = new HostSlots();
  readonly #flows = new HostFlows();
  readonly #packet: Packet = newPacket();
  readonly #keeper: Pick<PortKeeper, "take" | "isStill" | "close">;
  /** By which port the packet was sent that was admitted last; null: by one of TCP. */
  #last: OwnedPort | null = null;
  readonly #late = new Map<number, OwnedPort>();

  constructor(keeper: Pick<PortKeeper, "take" | "isStill" | "close">) {
    this.#keeper = keeper;
  }

  close(): void {
    this.#keeper.close();
  }

  /** Some pod is held. */
  get active(): boolean {
    return this.#numbers.size > 0;
  }

  /** These are known from now on; what is told of others before bore the node's address, and could not any more. */
  set(pods: readonly HostPod[]): void {
    this.#numbers.clear();
    for (const { tag, number } of pods) this.#numbers.set(tag, number);
    const numbers = new Set(pods.map(({ number }) => number));
    this.#slots.keep(numbers);
    this.#flows.keep(numbers);
  }

  /** `admit` for packet `i` of the strict queue, put as a question of `word`: HOST, STRICT for any other, -1 to drop it. */
  place({ bytes, offset, length, hook, priority }: PacketBatch, i: number, word: number): number {
    if (!this.active) return STRICT;
    // Most packets are forwarded: they pay no more than this.
    if (hook[i] !== LOCAL_IN && hook[i] !== LOCAL_OUT) return bearsHostKey(bytes, offset[i]!, length[i]!) ? -1 : STRICT;
    const admission = this.admit({
      ...{ bytes, start: offset[i]!, length: length[i]!, hook: hook[i]!, priority: priority[i]! },
      fromServer: (word & FROM_SERVER) !== 0,
    });
    return admission === "host" ? HOST : admission === "drop" ? -1 : STRICT;
  }

  /** The packet that was admitted last is not answered at once. Until `mayGo`, once for each. */
  hold(ticket: number): void {
    if (this.#last !== null) this.#late.set(ticket, this.#last);
  }

  /** False: another pod has got the port meanwhile. With the answer the kernel would take the port for that of who asked. */
  mayGo(ticket: number): boolean {
    const sent = this.#late.get(ticket);
    if (sent === undefined) return true;
    this.#late.delete(ticket);
    return this.#keeper.isStill(sent);
  }

  /** Says whose packet it is, and writes the pod's address into it. */
  admit({ bytes, start, length, hook, priority, fromServer }: BorderPacket): Admission {
    const packet = this.#packet;
    parsePacket(bytes, start, length, packet);
    this.#last = null;
    if (hook === LOCAL_OUT && !fromServer && priority >= TAG_BIT) return this.#sent(packet, priority);
    if (hook === LOCAL_IN && fromServer && this.#answered(packet)) return "host";
    // Nobody else is let in under such an address.
    return isHostKey(sourceAddress(packet)) || isHostKey(destinationAddress(packet)) ? "drop" : "other";
  }

  /** The packet with the node's address again, as a copy where it was another; null: it cannot be told any more which. */
  outward(bytes: Uint8Array): Uint8Array | null {
    const packet = newPacket();
    if (!parsePacket(bytes, 0, bytes.length, packet)) return bytes;
    const source = sourceAddress(packet);
    const from = isHostKey(source);
    const destination = destinationAddress(packet);
    if (!from && !isHostKey(destination)) return bytes;
    const address = this.#slots.addressOf(from ? source : destination);
    packet.bytes = bytes.slice();
    return address !== null && readdress(packet, from ? "source" : "destination", address) ? packet.bytes : null;
  }

  /** The flow as everybody else knows it. */
  outer(tuple: FlowTuple): FlowTuple {
    const address = isHostKey(tuple.client) ? this.#slots.addressOf(tuple.client) : null;
    return address === null ? tuple : { ...tuple, client: address };
  }

  outerEvent(event: FlowEvent): FlowEvent {
    return isHostKey(event.tuple.client) ? { ...event, tuple: this.outer(event.tuple) } : event;
  }

  /** The flow as the inspector knows it. */
  inner(tuple: FlowTuple): FlowTuple {
    const client = this.#flows.clientOf(tuple);
    return client === null ? tuple : { ...tuple, client };
  }

  #sent(packet: Packet, priority: number): Admission {
    const number = this.#numbers.get(priority - TAG_BIT);
    const source = sourceAddress(packet);
    // Nothing was read of it, or an address that no host has: no honest socket sends so.
    if (number === undefined || packet.end === packet.start || isHostKey(source)) return "drop";
    if (packet.protocol !== PROTOCOL.tcp) {
      this.#last = { protocol: packet.protocol, port: localPort(packet), priority };
      if (!this.#keeper.take(this.#last.protocol, this.#last.port, priority)) return "drop";
    }
    const four = packet.version === 4;
    const key = hostKey(number, this.#slots.take(number, source, four), four);
    this.#flows.note(number, tupleOf(packet, false), key);
    return readdress(packet, "source", key) ? "host" : "drop";
  }

  #answered(packet: Packet): boolean {
    const client = packet.end === packet.start ? null : this.#flows.clientOf(tupleOf(packet, true));
    return client !== null && readdress(packet, "destination", client);
  }
}

/** For the lane that has the `strict` queue; with the pods that are held as it begins. */
export function openBorder(
  pods: readonly HostPod[],
  strict: { flush(): void },
  onTrouble: (message: string) => void,
): HostBorder {
  const border = new HostBorder(new PortKeeper(() => strict.flush(), onTrouble));
  border.set(pods);
  return border;
}

/**
 * The kernel opens no flow of these pods by itself: what it would remember for that is the node's address (docs/adr/0014-carried-flows.md,
 * docs/adr/0017-told-syns.md). `lost`: what was to go in the packet's place cannot be addressed any more.
 */
export function hostAnswer(answer: number, lost: boolean): number {
  if (lost) return DROP;
  return answer === ANSWER.carry ? ANSWER.allow : answer === ANSWER.tell ? ANSWER.look : answer;
}

/** What the kernel calls `th sport`, whatever the protocol. */
function localPort({ bytes, transport, end }: Packet): number {
  return transport + 2 <= end ? (bytes[transport]! << 8) | bytes[transport + 1]! : 0;
}

function tupleOf(packet: Packet, fromServer: boolean): FlowTuple {
  const echo = packet.protocol === PROTOCOL.icmp || packet.protocol === PROTOCOL.icmpv6;
  const source: Address = sourceAddress(packet);
  const destination = destinationAddress(packet);
  const { protocol, sourcePort, destinationPort, icmpId } = packet;
  return {
    protocol,
    client: fromServer ? destination : source,
    server: fromServer ? source : destination,
    clientPort: echo ? icmpId : fromServer ? destinationPort : sourcePort,
    serverPort: echo ? 0 : fromServer ? sourcePort : destinationPort,
  };
}
