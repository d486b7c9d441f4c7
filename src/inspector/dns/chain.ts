import type { Address } from "../../net/address.ts";
import type { DnsMessage, DnsRecord } from "../../packet/dns.ts";

/** What an answer says about its question. */
export interface Resolution {
  readonly addresses: readonly Address[];
  /** CNAMEs and service targets on the way, without the question. */
  readonly aliases: readonly string[];
  /** Seconds: the least along the chain. */
  readonly ttl: number;
}

const MOST_HOPS = 16;
const MOST_ADDRESSES = 256;
const NO_ALIASES: readonly string[] = Object.freeze([]);

/**
 * Follows the CNAMEs from the question through the answer section, in whatever order the records stand, and takes the
 * addresses (A, AAAA, hints of SVCB and HTTPS) of the names on that way. Everything else in the message is ignored:
 * records off the chain, the other sections. A loop, a second CNAME of one name that differs, or too many hops end the walk.
 */
export function followChain(message: DnsMessage, question: string): Resolution {
  if (message.answers.every((record) => record.address !== null && record.name === question)) return direct(message);
  const addresses: Address[] = [];
  const aliases = new Set<string>();
  const visited = new Set<string>();
  let ttl = Number.POSITIVE_INFINITY;
  let current: string | null = question;
  for (let hop = 0; current !== null && hop <= MOST_HOPS && !visited.has(current); hop++) {
    visited.add(current);
    let next: DnsRecord | null = null;
    let ambiguous = false;
    for (const record of message.answers) {
      if (record.name !== current) continue;
      if (record.target !== undefined) {
        ambiguous ||= next !== null && next.target !== record.target;
        next = record;
      } else if (record.address !== null || record.service !== null) takeAddresses(record, addresses, aliases);
      else continue;
      ttl = Math.min(ttl, record.ttl);
    }
    current = ambiguous || next === null ? null : next.target!;
    if (current !== null) aliases.add(current);
  }
  aliases.delete(question);
  return { addresses, aliases: [...aliases], ttl: Number.isFinite(ttl) ? ttl : 0 };
}

/** Nothing but addresses of the question: most answers are. */
function direct({ answers }: DnsMessage): Resolution {
  const addresses: Address[] = [];
  let ttl = answers.length === 0 ? 0 : Number.POSITIVE_INFINITY;
  for (const record of answers) {
    if (addresses.length < MOST_ADDRESSES) addresses.push(record.address!);
    ttl = Math.min(ttl, record.ttl);
  }
  return { addresses, aliases: NO_ALIASES, ttl };
}

function takeAddresses(record: DnsRecord, addresses: Address[], aliases: Set<string>): void {
  const { address, service } = record;
  if (address !== null && addresses.length < MOST_ADDRESSES) addresses.push(address);
  if (service === null) return;
  if (service.target !== null && service.target !== "" && aliases.size < MOST_ADDRESSES) aliases.add(service.target);
  // Hints are hints to the target of a record in service mode; an alias (priority 0) has none to follow (RFC 9460 §2.4.2).
  if (service.priority === 0) return;
  for (const hint of service.addresses) if (addresses.length < MOST_ADDRESSES) addresses.push(hint);
}
