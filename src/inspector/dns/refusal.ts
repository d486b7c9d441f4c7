import type { AgentConfig } from "../../model/config.ts";
import type { Decision } from "../../model/decision.ts";
import { buildDnsAnswer, DNS_RCODE, EXTENDED_ERROR } from "../../packet/dns-answer.ts";

/**
 * The answer to a question that may not be asked: NXDOMAIN (musl gives up its whole search list on REFUSED), or REFUSED if
 * configured, with Extended DNS Error 15 (RFC 8914 §4.16) saying which policy and rule. Null: the query gives nothing to answer.
 */
export function denialAnswer(
  query: Uint8Array,
  decision: Decision,
  denial: AgentConfig["dnsDenial"],
  overTcp: boolean,
): Uint8Array | null {
  const rcode = denial === "Refused" ? DNS_RCODE.refused : DNS_RCODE.nameError;
  const text = denialText(decision);
  return buildDnsAnswer({ query, rcode, extendedError: { code: EXTENDED_ERROR.blocked, text }, overTcp });
}

function denialText({ policy, rule, reason }: Decision): string {
  if (policy === null) return `Blocked by default deny (${reason})`;
  return rule === null ? `Blocked by ${policy}` : `Blocked by ${policy} rule ${rule}`;
}

/** FORMERR (RFC 1035 §4.1.1) to what is hardly a query: its header comes back, without what it held. Null: not even that. */
export function formatErrorAnswer(query: Uint8Array): Uint8Array | null {
  if (query.length < 12 || (query[2]! & 0x80) !== 0) return null;
  const answer = new Uint8Array(12);
  answer[0] = query[0]!;
  answer[1] = query[1]!;
  answer[2] = 0x80 | (query[2]! & 0x79);
  answer[3] = 0x80 | DNS_RCODE.formatError;
  return answer;
}
