import { asciiText, COLON, CR, equalsIgnoringCase, HTAB, LF, SP, TOKEN } from "../../net/ascii.ts";
import { type Authority, NO_AUTHORITY, readAuthority } from "./authority.ts";

/** What the header fields of one request say; filled line by line. */
export interface Fields {
  host: Authority | null;
  /** -1: none. */
  contentLength: number;
  chunked: boolean;
  close: boolean;
  keepAlive: boolean;
  upgrade: string | null;
  /** Just after the empty line, once `readFields` says "end". */
  end: number;
}

export type FieldProblem =
  | "BareLineFeed"
  | "BareCarriageReturn"
  | "ObsoleteFold"
  | "SpaceBeforeColon"
  | "FieldName"
  | "FieldCharacter"
  | "SeveralHosts"
  | "HostValue"
  | "SeveralContentLengths"
  | "ContentLengthValue"
  | "SeveralTransferEncodings"
  | "TransferEncodingValue"
  | "ConnectionValue"
  | "TooManyFields";

/** Also bounds the work for a head that comes in tiny segments: each whole line makes the reading start anew. */
const MAX_FIELDS = 256;

export function newFields(): Fields {
  return {
    host: null,
    contentLength: -1,
    chunked: false,
    close: false,
    keepAlive: false,
    upgrade: null,
    end: 0,
  };
}

/** Reads header fields from `at` to the empty line (RFC 9112 §5). "need": it is not there yet, and no line is wrong so far. */
export function readFields(buf: Uint8Array, start: number, end: number, into: Fields): FieldProblem | "need" | "end" {
  let at = start;
  for (let count = 0; ; count++) {
    if (at >= end) return "need";
    if (buf[at] === CR) {
      if (at + 1 >= end) return "need";
      if (buf[at + 1] !== LF) return "BareCarriageReturn";
      into.end = at + 2;
      return "end";
    }
    if (count === MAX_FIELDS) return "TooManyFields";
    const nameStart = at;
    while (at < end && TOKEN[buf[at]!] === 1) at++;
    if (at >= end) return "need";
    const colon = at;
    if (buf[colon] !== COLON || colon === nameStart) return nameProblem(buf, nameStart, colon);
    at++;
    while (at < end && isValueByte(buf[at]!)) at++;
    if (at >= end) return "need";
    if (buf[at] !== CR) return buf[at] === LF ? "BareLineFeed" : "FieldCharacter";
    if (at + 1 >= end) return "need";
    if (buf[at + 1] !== LF) return "BareCarriageReturn";
    const problem = readField(buf, nameStart, colon, at, into);
    if (problem !== null) return problem;
    at += 2;
  }
}

/** Bytes above ASCII are opaque to every reader (RFC 9110 §5.5); control characters are not. */
function isValueByte(c: number): boolean {
  return (c >= SP && c !== 0x7f) || c === HTAB;
}

function nameProblem(buf: Uint8Array, nameStart: number, at: number): FieldProblem {
  const c = buf[at]!;
  const blank = c === SP || c === HTAB;
  if (blank) return at === nameStart ? "ObsoleteFold" : "SpaceBeforeColon";
  return c === LF ? "BareLineFeed" : c === CR ? "BareCarriageReturn" : "FieldName";
}

function readField(buf: Uint8Array, name: number, colon: number, lineEnd: number, into: Fields): FieldProblem | null {
  const length = colon - name;
  if (length !== 4 && length !== 7 && length !== 10 && length !== 14 && length !== 17) return null;
  let start = colon + 1;
  let end = lineEnd;
  while (start < end && (buf[start] === SP || buf[start] === HTAB)) start++;
  while (end > start && (buf[end - 1] === SP || buf[end - 1] === HTAB)) end--;
  if (equalsIgnoringCase(buf, name, colon, "host")) return readHost(buf, start, end, into);
  if (equalsIgnoringCase(buf, name, colon, "content-length")) return readContentLength(buf, start, end, into);
  if (equalsIgnoringCase(buf, name, colon, "connection")) return readConnection(buf, start, end, into);
  if (equalsIgnoringCase(buf, name, colon, "transfer-encoding")) {
    if (into.chunked) return "SeveralTransferEncodings";
    into.chunked = true;
    return equalsIgnoringCase(buf, start, end, "chunked") ? null : "TransferEncodingValue";
  }
  if (equalsIgnoringCase(buf, name, colon, "upgrade")) into.upgrade = asciiText(buf, start, end).toLowerCase();
  return null;
}

function readHost(buf: Uint8Array, start: number, end: number, into: Fields): FieldProblem | null {
  if (into.host !== null) return "SeveralHosts";
  into.host = start === end ? NO_AUTHORITY : readAuthority(buf, start, end);
  return into.host === null ? "HostValue" : null;
}

/** One list element, digits only, at most 15 of them: exact in a double (RFC 9110 §8.6). */
function readContentLength(buf: Uint8Array, start: number, end: number, into: Fields): FieldProblem | null {
  if (into.contentLength >= 0) return "SeveralContentLengths";
  if (end === start || end - start > 15) return "ContentLengthValue";
  let length = 0;
  for (let at = start; at < end; at++) {
    const digit = buf[at]! - 0x30;
    if (digit < 0 || digit > 9) return "ContentLengthValue";
    length = length * 10 + digit;
  }
  into.contentLength = length;
  return null;
}

/** A proxy deletes the fields that Connection names (RFC 9110 §7.6.1): naming those that frame or route is a trick. */
function readConnection(buf: Uint8Array, start: number, end: number, into: Fields): FieldProblem | null {
  for (let at = start; at < end; ) {
    let next = at;
    while (next < end && buf[next] !== 0x2c) next++;
    let last = next;
    while (at < last && (buf[at] === SP || buf[at] === HTAB)) at++;
    while (last > at && (buf[last - 1] === SP || buf[last - 1] === HTAB)) last--;
    if (equalsIgnoringCase(buf, at, last, "close")) into.close = true;
    else if (equalsIgnoringCase(buf, at, last, "keep-alive")) into.keepAlive = true;
    else if (
      equalsIgnoringCase(buf, at, last, "host") ||
      equalsIgnoringCase(buf, at, last, "content-length") ||
      equalsIgnoringCase(buf, at, last, "transfer-encoding")
    ) {
      return "ConnectionValue";
    }
    at = next + 1;
  }
  return null;
}
