import type { MutableFacts } from "./judge.ts";

/**
 * What the first datagram shows besides its addresses: QUIC or something else. Reading QUIC's own hello is a later matter: until
 * then its name counts as hidden.
 */
export function datagramFacts(facts: MutableFacts, quic: boolean): void {
  facts.application = quic ? "QUIC" : "Other";
  facts.nameHidden = quic;
  facts.evidence = null;
  facts.encryptedClientHello = quic ? undefined : false;
  facts.method = facts.path = null;
}
