import { half } from "./network-order.ts";
import { type ClientHelloBody, type HelloBodyProblem, readHelloBody } from "./tls-hello.ts";

/** The parts of a ClientHello that decide (RFC 8446 §4.1.2). */
export interface ClientHello extends ClientHelloBody {
  readonly kind: "hello";
  /** Just after the last record that holds the hello. */
  readonly consumedEnd: number;
}

export type ClientHelloResult =
  | ClientHello
  /** `atLeast`: counted from `start`; with fewer bytes there is no hello yet. */
  | { readonly kind: "need"; readonly atLeast: number }
  | { readonly kind: "malformed"; readonly problem: ClientHelloProblem }
  /** The first bytes cannot be TLS. */
  | { readonly kind: "notTls" };

export type ClientHelloProblem =
  | HelloBodyProblem
  | "SSLv2"
  | "RecordVersion"
  | "RecordEmpty"
  | "RecordTooLong"
  | "AlertBeforeHello"
  | "ChangeCipherSpecBeforeHello"
  | "ApplicationDataBeforeHello"
  | "OtherContentBeforeHello"
  | "OtherHandshakeMessage"
  | "BytesAfterHello"
  | "TooLong";

/** The fatal alert `access_denied` (49), RFC 8446 §6, ready to be sent. */
export const TLS_ALERT_ACCESS_DENIED: Uint8Array = Uint8Array.of(21, 3, 3, 0, 2, 2, 49);

const CONTENT = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;
const MAX_RECORD = 1 << 14;
const MAX_STREAM = 1 << 16;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
/** Up to here a loop copies faster than a view does. */
const FEW_BYTES = 32;

const NOT_TLS: ClientHelloResult = { kind: "notTls" };

/**
 * Reads the ClientHello at the start of the client's byte stream `buf[start, end)`, whatever way the message is cut into
 * records (RFC 8446 §5.1), up to 64 KiB. Stateless: call it again with more bytes. Because `atLeast` grows by what is
 * missing at least, a hello cut into tiny pieces costs a handful of calls, not one for each byte.
 * `afterRetry`: a second hello, before which a client may send one ChangeCipherSpec (RFC 8446 §D.4).
 */
export function readClientHello(buf: Uint8Array, start: number, end: number, afterRetry = false): ClientHelloResult {
  if (end <= start) return need(1);
  const first = firstBytes(buf, start, end);
  if (first !== null) return first;
  let at = start;
  if (afterRetry && buf[at] === CONTENT.changeCipherSpec) {
    if (end - at < 6) return need(6);
    if (half(buf, at + 3) !== 1 || buf[at + 5] !== 1) return malformed("ChangeCipherSpecBeforeHello");
    at += 6;
  }
  const limit = Math.min(end, start + MAX_STREAM);
  let length = -1;
  let collected = 0;
  const firstRecord = at;
  for (;;) {
    const remaining = length < 0 ? MESSAGE_HEADER - collected : length - collected;
    if (at + RECORD_HEADER > limit) return needOrTooLong(start, at, at, remaining);
    const problem = recordProblem(buf, at);
    if (problem !== null) return malformed(problem);
    const payload = at + RECORD_HEADER;
    const next = payload + half(buf, at + 3);
    if (collected === 0 && payload < limit && buf[payload] !== 1) return malformed("OtherHandshakeMessage");
    if (length < 0) length = messageLength(buf, firstRecord, limit);
    if (length > MAX_STREAM) return malformed("TooLong");
    if (next > limit) return needOrTooLong(start, next, payload, (length < 0 ? MESSAGE_HEADER : length) - collected);
    collected += next - payload;
    at = next;
    if (length >= 0 && collected >= length) break;
  }
  if (collected > length) return malformed("BytesAfterHello");
  return finish(buf, firstRecord, at, length);
}

function need(atLeast: number): ClientHelloResult {
  return { kind: "need", atLeast };
}

function malformed(problem: ClientHelloProblem): ClientHelloResult {
  return { kind: "malformed", problem };
}

/** What is missing after the record that ends at `recordEnd`, were it to come in records of the greatest size. */
function needOrTooLong(start: number, recordEnd: number, payload: number, remaining: number): ClientHelloResult {
  const after = remaining - (recordEnd - payload);
  const records = after > 0 ? Math.ceil(after / MAX_RECORD) : 0;
  const atLeast = recordEnd - start + (after > 0 ? after + records * RECORD_HEADER : 0);
  return atLeast > MAX_STREAM ? malformed("TooLong") : need(atLeast);
}

/** Null: go on, the bytes so far are those of TLS records. */
function firstBytes(buf: Uint8Array, start: number, end: number): ClientHelloResult | null {
  const type = buf[start]!;
  const known = end - start;
  if ((type & 0x80) !== 0) {
    // OpenSSL still answers an SSLv2 hello that offers a newer version; it has no server name.
    if (known < 3) return need(5);
    if (buf[start + 2] !== 1) return NOT_TLS;
    if (known < 5) return need(5);
    const major = buf[start + 3]!;
    return major === 3 || (major === 0 && buf[start + 4] === 2) ? malformed("SSLv2") : NOT_TLS;
  }
  if (type < CONTENT.changeCipherSpec || type > CONTENT.applicationData) return NOT_TLS;
  if (known < 2) return need(RECORD_HEADER);
  const major = buf[start + 1]!;
  if (major === 3) return null;
  // Some servers take any major version in the first record: what they would read must not pass for unknown bytes.
  return type === CONTENT.handshake && major < 0x10 ? malformed("RecordVersion") : NOT_TLS;
}

function recordProblem(buf: Uint8Array, at: number): ClientHelloProblem | null {
  switch (buf[at]) {
    case CONTENT.handshake: {
      const size = half(buf, at + 3);
      if (buf[at + 1] !== 3) return "RecordVersion";
      return size === 0 ? "RecordEmpty" : size > MAX_RECORD ? "RecordTooLong" : null;
    }
    case CONTENT.alert:
      return "AlertBeforeHello";
    case CONTENT.changeCipherSpec:
      return "ChangeCipherSpecBeforeHello";
    case CONTENT.applicationData:
      return "ApplicationDataBeforeHello";
    default:
      return "OtherContentBeforeHello";
  }
}

/** Length of the handshake message with its header, or -1 while its header is not complete. */
function messageLength(buf: Uint8Array, firstRecord: number, limit: number): number {
  let at = firstRecord;
  let index = 0;
  let length = 0;
  while (at + RECORD_HEADER <= limit) {
    const payload = at + RECORD_HEADER;
    const next = payload + half(buf, at + 3);
    for (let byte = payload; byte < next && byte < limit; byte++, index++) {
      if (index > 0) length = length * 256 + buf[byte]!;
      if (index === 3) return length + MESSAGE_HEADER;
    }
    at = next;
  }
  return -1;
}

function finish(buf: Uint8Array, firstRecord: number, at: number, length: number): ClientHelloResult {
  const inPlace = RECORD_HEADER + length === at - firstRecord;
  const body = inPlace
    ? readHelloBody(buf, firstRecord + RECORD_HEADER + MESSAGE_HEADER, at)
    : readHelloBody(joinRecords(buf, firstRecord, at, length), MESSAGE_HEADER, length);
  if (typeof body === "string") return malformed(body);
  return {
    kind: "hello",
    serverName: body.serverName,
    serverNameProblem: body.serverNameProblem,
    encryptedClientHello: body.encryptedClientHello,
    earlyData: body.earlyData,
    applicationProtocols: body.applicationProtocols,
    supportedVersions: body.supportedVersions,
    consumedEnd: at,
  };
}

/** The payloads of whole records, one after the other, as a copy. */
export function joinRecords(buf: Uint8Array, start: number, end: number, length: number): Uint8Array {
  const message = new Uint8Array(length);
  let filled = 0;
  for (let at = start; at + RECORD_HEADER <= end && filled < length; ) {
    const payload = at + RECORD_HEADER;
    const next = Math.min(payload + half(buf, at + 3), end, payload + length - filled);
    if (next - payload > FEW_BYTES) {
      message.set(buf.subarray(payload, next), filled);
      filled += next - payload;
    } else {
      for (let byte = payload; byte < next; byte++) message[filled++] = buf[byte]!;
    }
    at = payload + half(buf, at + 3);
  }
  return message;
}
