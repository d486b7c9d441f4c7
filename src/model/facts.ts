import type { Address } from "../net/address.ts";

/** `Unknown`: no payload seen yet. `ServerFirst`: the server spoke before the client. `Other`: classified, none of these. */
export type Application = "Unknown" | "TLS" | "QUIC" | "HTTP" | "DNS" | "Other" | "ServerFirst";

/**
 * What is known of a flow so far (DESIGN §2). Facts only grow: each step may set what was unknown, never change what was known.
 * `undefined` is "not known yet"; `null` is "known to be absent".
 */
export interface Facts {
  readonly address: Address;
  /** Destination port; 0 for protocols without ports. */
  readonly port: number;
  /** IP protocol number. ICMPv6 (58) is given as 1. */
  readonly protocol: number;
  /** Names whose question this workload asked and whose answer held the address. Canonical. */
  readonly names: readonly string[];
  /** CNAMEs on the way to the address; they bind for Deny only. */
  readonly aliases: readonly string[];
  /** False while the agent may still find a binding by resolving a name itself. */
  readonly namesFinal: boolean;
  readonly application: Application;
  /** The name in the flow (SNI, Host), canonical; null: the flow carries none, or hides it. */
  readonly evidence: string | null | undefined;
  /** The flow speaks a protocol that carries names and hides its own: TLS or QUIC without a server name, unreadable HTTP. */
  readonly nameHidden: boolean;
  /** TLS: an encrypted_client_hello extension was there (GREASE or real). */
  readonly encryptedClientHello: boolean | undefined;
  readonly method: string | null | undefined;
  /** Normalised path without query (net/url-path). */
  readonly path: string | null | undefined;
  /** No more facts can come. */
  readonly ended: boolean;
}
