import { type Address, ipv4 } from "../net/address.ts";
import { type DnsNameProblem, type NameCursor, newNameCursor, readDnsName, resetNameCursor } from "./dns-name.ts";
import { readServiceBinding, type ServiceBinding, type ServiceBindingProblem } from "./dns-service-binding.ts";
import { half, word } from "./network-order.ts";

export const DNS_TYPE = { A: 1, CNAME: 5, AAAA: 28, OPT: 41, SVCB: 64, HTTPS: 65 } as const;
export const DNS_CLASS_IN = 1;

/** A DNS message (RFC 1035 §4). Offsets are into the buffer it was read from. */
export interface DnsMessage {
  readonly kind: "message";
  readonly start: number;
  readonly end: number;
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** Four bits, without the extension of EDNS. */
  readonly rcode: number;
  /** As announced; the gate wants exactly one. */
  readonly questionCount: number;
  /** The first question, or null if there is none. */
  readonly question: DnsQuestion | null;
  readonly answers: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  /** Without OPT. */
  readonly additional: readonly DnsRecord[];
  readonly edns: DnsEdns | null;
}

export interface DnsQuestion {
  /** Canonical, root "", null if text cannot hold it (`NameCursor.text`). */
  readonly name: string | null;
  readonly type: number;
  readonly class: number;
  readonly start: number;
  readonly end: number;
}

export interface DnsRecord {
  readonly name: string | null;
  readonly type: number;
  readonly class: number;
  /** Seconds; 0 where the top bit is set (RFC 2181 §8). */
  readonly ttl: number;
  /** Where the record data lies. */
  readonly start: number;
  readonly end: number;
  /** A and AAAA of class IN, else null. */
  readonly address: Address | null;
  /** Of a CNAME; null if text cannot hold it; undefined for other types. */
  readonly target: string | null | undefined;
  /** SVCB and HTTPS, else null. */
  readonly service: ServiceBinding | null;
}

/** The OPT pseudo record (RFC 6891 §6.1). */
export interface DnsEdns {
  readonly payloadSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export type DnsProblem =
  | DnsNameProblem
  | ServiceBindingProblem
  | "Truncated"
  | "TooManyRecords"
  | "RecordOverrun"
  | "RecordData"
  | "OptRecord"
  | "TrailingBytes";

export interface MalformedDns {
  readonly kind: "malformed";
  readonly problem: DnsProblem;
}

/** A message with more records is refused: names are decompressed for each, which must not cost an attacker nothing. */
const MAX_RECORDS = 1024;

interface Reader {
  readonly buf: Uint8Array;
  readonly start: number;
  readonly end: number;
  at: number;
  readonly cursor: NameCursor;
  edns: DnsEdns | null;
}

const NONE: readonly DnsRecord[] = Object.freeze([]);

/**
 * Reads the message that fills `buf[start, end)` exactly: bytes behind the last record are a problem. Who reads many messages
 * keeps one cursor for them.
 */
export function parseDnsMessage(
  buf: Uint8Array,
  start: number,
  end: number,
  cursor: NameCursor = newNameCursor(),
): DnsMessage | MalformedDns {
  if (end - start < 12 || end > buf.length) return malformed("Truncated");
  const questionCount = half(buf, start + 4);
  const answerCount = half(buf, start + 6);
  const authorityCount = half(buf, start + 8);
  const additionalCount = half(buf, start + 10);
  if (questionCount + answerCount + authorityCount + additionalCount > MAX_RECORDS) return malformed("TooManyRecords");
  resetNameCursor(cursor);
  const reader: Reader = { buf, start, end, at: start + 12, cursor, edns: null };
  let question: DnsQuestion | null = null;
  for (let index = 0; index < questionCount; index++) {
    const next = readQuestion(reader);
    if (typeof next === "string") return malformed(next);
    question ??= next;
  }
  const answers = readSection(reader, answerCount, false);
  if (typeof answers === "string") return malformed(answers);
  const authority = readSection(reader, authorityCount, false);
  if (typeof authority === "string") return malformed(authority);
  const additional = readSection(reader, additionalCount, true);
  if (typeof additional === "string") return malformed(additional);
  if (reader.at !== end) return malformed("TrailingBytes");
  const high = buf[start + 2]!;
  const low = buf[start + 3]!;
  return {
    kind: "message",
    start,
    end,
    id: half(buf, start),
    response: (high & 0x80) !== 0,
    opcode: (high >>> 3) & 15,
    authoritative: (high & 4) !== 0,
    truncated: (high & 2) !== 0,
    recursionDesired: (high & 1) !== 0,
    recursionAvailable: (low & 0x80) !== 0,
    authenticData: (low & 0x20) !== 0,
    checkingDisabled: (low & 0x10) !== 0,
    rcode: low & 15,
    questionCount,
    question,
    answers,
    authority,
    additional,
    edns: reader.edns,
  };
}

function malformed(problem: DnsProblem): MalformedDns {
  return { kind: "malformed", problem };
}

function readQuestion(reader: Reader): DnsQuestion | DnsProblem {
  const start = reader.at;
  const problem = readDnsName(reader.buf, reader.start, reader.end, start, reader.cursor);
  if (problem !== null) return problem;
  const at = reader.cursor.next;
  if (at + 4 > reader.end) return "Truncated";
  reader.at = at + 4;
  return {
    name: reader.cursor.text,
    type: half(reader.buf, at),
    class: half(reader.buf, at + 2),
    start,
    end: at + 4,
  };
}

function readSection(reader: Reader, count: number, additional: boolean): readonly DnsRecord[] | DnsProblem {
  if (count === 0) return NONE;
  const into: DnsRecord[] = [];
  for (let index = 0; index < count; index++) {
    const record = readRecord(reader);
    if (typeof record === "string") return record;
    if (record.type !== DNS_TYPE.OPT) into.push(record);
    else if (!additional || reader.edns !== null || record.name !== "") return "OptRecord";
    else reader.edns = readOpt(reader.buf, record);
  }
  return into;
}

function readRecord(reader: Reader): DnsRecord | DnsProblem {
  const { buf, cursor } = reader;
  const problem = readDnsName(buf, reader.start, reader.end, reader.at, cursor);
  if (problem !== null) return problem;
  const name = cursor.text;
  const at = cursor.next;
  if (at + 10 > reader.end) return "Truncated";
  const type = half(buf, at);
  const start = at + 10;
  const end = start + half(buf, at + 8);
  if (end > reader.end) return "RecordOverrun";
  reader.at = end;
  const ttl = word(buf, at + 4);
  const record = {
    name,
    type,
    class: half(buf, at + 2),
    ttl: ttl > 0x7fffffff ? 0 : ttl,
    start,
    end,
    address: null as Address | null,
    target: undefined as string | null | undefined,
    service: null as ServiceBinding | null,
  };
  if (record.class !== DNS_CLASS_IN) return record;
  if (type === DNS_TYPE.A) {
    if (end - start !== 4) return "RecordData";
    record.address = ipv4(word(buf, start));
  } else if (type === DNS_TYPE.AAAA) {
    if (end - start !== 16) return "RecordData";
    record.address = readAddress(buf, start);
  } else if (type === DNS_TYPE.CNAME) {
    const wrong = readDnsName(buf, reader.start, end, start, cursor);
    if (wrong !== null) return wrong;
    if (cursor.next !== end) return "RecordData";
    record.target = cursor.text;
  } else if (type === DNS_TYPE.SVCB || type === DNS_TYPE.HTTPS) {
    const service = readServiceBinding(buf, reader.start, start, end, cursor);
    if (typeof service === "string") return service;
    record.service = service;
  }
  return record;
}

function readOpt(buf: Uint8Array, record: DnsRecord): DnsEdns {
  const at = record.start - 6;
  return { payloadSize: record.class, version: buf[at + 1]!, dnssecOk: (buf[at + 2]! & 0x80) !== 0 };
}

/** 16 bytes as an address. The caller has checked the bounds. */
export function readAddress(buf: Uint8Array, at: number): Address {
  return { w0: word(buf, at), w1: word(buf, at + 4), w2: word(buf, at + 8), w3: word(buf, at + 12) };
}
