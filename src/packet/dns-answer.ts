import { DNS_TYPE, parseDnsMessage } from "./dns.ts";
import { half, writeHalf } from "./network-order.ts";

export const DNS_RCODE = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, refused: 5 } as const;

/** Extended DNS Error codes (RFC 8914 §4). */
export const EXTENDED_ERROR = { blocked: 15, censored: 16, filtered: 17, prohibited: 18 } as const;

export interface DnsAnswerParts {
  /** The query as received: id, question and RD are echoed. */
  readonly query: Uint8Array;
  readonly rcode: number;
  /** Told only to a client that speaks EDNS. ASCII text; cut where the size allowed by the client ends. */
  readonly extendedError?: { readonly code: number; readonly text: string };
  /** Over TCP the UDP size limits do not hold. */
  readonly overTcp?: boolean;
}

const MAX_TEXT = 512;
const OUR_PAYLOAD_SIZE = 1232;
const EDE_OPTION = 15;

/**
 * An answer without records. There is no SOA, hence no negative TTL: it must not be cached (RFC 2308 §5).
 * Null if the query cannot be read, is itself an answer, or has not exactly one question.
 */
export function buildDnsAnswer(parts: DnsAnswerParts): Uint8Array | null {
  const { query } = parts;
  const parsed = parseDnsMessage(query, 0, query.length);
  if (parsed.kind !== "message" || parsed.response || parsed.questionCount !== 1 || parsed.question === null)
    return null;
  const question = query.subarray(12, parsed.question.end);
  const limit = parts.overTcp ? 0xffff : Math.max(512, parsed.edns?.payloadSize ?? 512);
  const head = 12 + question.length;
  const text = errorText(parts, limit - head - 11 - 6);
  const optSize = parsed.edns === null ? 0 : 11 + (text === null ? 0 : 6 + text.length);
  const answer = new Uint8Array(head + optSize);
  answer[0] = query[0]!;
  answer[1] = query[1]!;
  answer[2] = 0x80 | (query[2]! & 0x79);
  answer[3] = 0x80 | (query[3]! & 0x10) | (parts.rcode & 15);
  answer[5] = 1;
  answer.set(question, 12);
  if (parsed.edns === null) return answer;
  answer[11] = 1;
  writeHalf(answer, head + 1, DNS_TYPE.OPT);
  writeHalf(answer, head + 3, OUR_PAYLOAD_SIZE);
  answer[head + 7] = parsed.edns.dnssecOk ? 0x80 : 0;
  if (text === null) return answer;
  writeHalf(answer, head + 9, 6 + text.length);
  writeHalf(answer, head + 11, EDE_OPTION);
  writeHalf(answer, head + 13, 2 + text.length);
  writeHalf(answer, head + 15, parts.extendedError!.code);
  answer.set(text, head + 17);
  return answer;
}

/** Null: no error to tell, or no room for one. Bytes beyond printable ASCII become `?`. */
function errorText(parts: DnsAnswerParts, room: number): Uint8Array | null {
  if (parts.extendedError === undefined || room < 0) return null;
  const { text } = parts.extendedError;
  const bytes = new Uint8Array(Math.min(text.length, room, MAX_TEXT));
  for (let index = 0; index < bytes.length; index++) {
    const c = text.charCodeAt(index);
    bytes[index] = c >= 0x20 && c < 0x7f ? c : 0x3f;
  }
  return bytes;
}

/** The message behind its two-byte length, as DNS over TCP wants it (RFC 1035 §4.2.2). */
export function frameDnsMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(message.length + 2);
  writeHalf(framed, 0, message.length);
  framed.set(message, 2);
  return framed;
}

/** Size of the frame at `at`, its length field included; 0 while the length field is not there. */
export function dnsFrameSize(buf: Uint8Array, at: number, end: number): number {
  return at + 2 > end ? 0 : 2 + half(buf, at);
}
