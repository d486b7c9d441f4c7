import { type Address, addressFromBytes } from "../net/address.ts";

/**
 * A pod on its node's network has no address of its own. Inside the agent one stands for it, which is never on the wire: every table that finds a
 * workload by its address works for these pods too (docs/adr/0025-host-network-pods.md).
 *
 *     IPv4  0.N.N.S                    "this network" (RFC 1122 §3.2.1.3): no host takes it in
 *     IPv6  0:0:5350:5254::N:S         below ::/8, which is reserved (RFC 4291 §2.4)
 *
 * N: the pod's number, 1 to 65535. S: which of the node's addresses it sends from.
 */
const WORD_1 = 0x5350_5254;
const MAPPED = 0xffff;

/** Addresses of its node, of each family, that one pod sends from at a time. */
export const HOST_SLOTS = 8;
export const MOST_HOST_NUMBER = 0xffff;

export function hostKey(number: number, slot: number, four: boolean): Address {
  const w3 = ((number << 8) | slot) >>> 0;
  return four ? { w0: 0, w1: 0, w2: MAPPED, w3 } : { w0: 0, w1: WORD_1, w2: 0, w3 };
}

/** Every address that stands for a pod. */
export function hostKeys(number: number): Address[] {
  return [true, false].flatMap((four) => Array.from({ length: HOST_SLOTS }, (_, slot) => hostKey(number, slot, four)));
}

/** No packet bears such an address but in here. */
export function isHostKey({ w0, w1, w2, w3 }: Address): boolean {
  return w0 === 0 && w3 > 0xff && w3 <= 0xff_ffff && ((w1 === 0 && w2 === MAPPED) || (w1 === WORD_1 && w2 === 0));
}

/** Whether the IP header at `at`, of a packet of so many bytes, bears such an address; a shorter one bears none. */
export function bearsHostKey(bytes: Uint8Array, at: number, length: number): boolean {
  const four = bytes[at]! >> 4 === 4;
  const first = at + (four ? 12 : 8);
  const size = four ? 4 : 16;
  if (length < (four ? 20 : 40)) return false;
  // The first byte of every such address is 0, and of hardly any other.
  if (bytes[first] !== 0 && bytes[first + size] !== 0) return false;
  return [first, first + size].some((start) => isHostKey(addressFromBytes(bytes, start, four ? 4 : 16)));
}

/** What names the pod to the packet lane: the lowest 31 bits of its control group's number, which no two groups share at a time. */
export function groupTag(group: bigint): number {
  return Number(group & 0x7fff_ffffn);
}
