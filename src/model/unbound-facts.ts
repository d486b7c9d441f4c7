import type { Address } from "../net/address.ts";
import type { Facts } from "./facts.ts";

/**
 * What is known of a flow before its first payload, with no name bound to its address yet. A fresh object each time, always of the same
 * shape: the lane fills it in. `protocol`: IP protocol number, ICMPv6 given as 1.
 */
export function unboundFacts(address: Address, port: number, protocol: number): Facts {
  return {
    address,
    port,
    protocol,
    names: [],
    aliases: [],
    namesFinal: false,
    application: "Unknown",
    evidence: undefined,
    nameHidden: false,
    encryptedClientHello: undefined,
    method: undefined,
    path: undefined,
    ended: false,
  };
}
