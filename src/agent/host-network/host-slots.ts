import { HOST_SLOTS, hostKey } from "../../model/host-pod.ts";
import { type Address, sameAddress } from "../../net/address.ts";

interface Slot {
  readonly address: Address;
  used: number;
}

/**
 * Which addresses of the node a pod sends from. One of few slots for each; the one that was used longest ago is given to another address: what was still
 * open from there is answered no more.
 */
export class HostSlots {
  /** By pod number: IPv4, IPv6. */
  readonly #pods = new Map<number, readonly [Slot[], Slot[]]>();
  #clock = 0;

  /** The slot of an address. */
  take(number: number, address: Address, four: boolean): number {
    const slots = this.#slotsOf(number, four);
    let at = slots.findIndex((slot) => sameAddress(slot.address, address));
    if (at < 0) {
      at = slots.length < HOST_SLOTS ? slots.length : oldest(slots);
      slots[at] = { address, used: 0 };
    }
    slots[at]!.used = ++this.#clock;
    return at;
  }

  /** The node's address behind a key; null: nobody has it. */
  addressOf(key: Address): Address | null {
    const four = key.w1 === 0;
    const number = key.w3 >>> 8;
    const slot = this.#pods.get(number)?.[four ? 0 : 1][key.w3 & 0xff];
    return slot === undefined || !sameAddress(hostKey(number, key.w3 & 0xff, four), key) ? null : slot.address;
  }

  /** Forgets all other pods. */
  keep(numbers: ReadonlySet<number>): void {
    for (const number of this.#pods.keys()) if (!numbers.has(number)) this.#pods.delete(number);
  }

  #slotsOf(number: number, four: boolean): Slot[] {
    let pod = this.#pods.get(number);
    if (pod === undefined) {
      pod = [[], []];
      this.#pods.set(number, pod);
    }
    return pod[four ? 0 : 1];
  }
}

function oldest(slots: readonly Slot[]): number {
  let at = 0;
  for (const [index, { used }] of slots.entries()) if (used < slots[at]!.used) at = index;
  return at;
}
