import { asciiText, CR, equalsIgnoringCase, HTAB, LF, SLASH, SP, TOKEN } from "../../net/ascii.ts";

/** The first line of a request (RFC 9112 §3), as offsets. */
export interface RequestLine {
  readonly kind: "line";
  readonly methodStart: number;
  readonly methodEnd: number;
  readonly targetStart: number;
  readonly targetEnd: number;
  readonly version: "1.0" | "1.1";
  /** Just after its CRLF. */
  readonly next: number;
}

export type RequestLineProblem =
  | "LeadingLines"
  | "BareLineFeed"
  | "BareCarriageReturn"
  | "MethodTooLong"
  | "RequestCharacter"
  | "RequestWhitespace"
  | "Version"
  | "Http09"
  | "HeadTooLong";

export type RequestLineResult =
  | RequestLine
  /** `inLine`: only a line feed or a control character can change the answer. */
  | { readonly kind: "need"; readonly inLine: boolean }
  | { readonly kind: "notHttp" }
  | { readonly kind: "http2" }
  | { readonly kind: "malformed"; readonly problem: RequestLineProblem };

export const MAX_HEAD = 1 << 16;

const MAX_METHOD = 64;
const VERSION_LENGTH = 8;
const NEED: RequestLineResult = { kind: "need", inLine: false };
const NEED_LINE: RequestLineResult = { kind: "need", inLine: true };
const NOT_HTTP: RequestLineResult = { kind: "notHttp" };

/**
 * Reads the request line at the start of `buf[start, end)`, or says that it is no HTTP. Two duties pull apart: the client
 * that speaks first in another protocol (an SSH banner, `PING`) must not be taken for broken HTTP, and what a lenient
 * server would still take for HTTP must not pass for another protocol. So a line that a strict reader refuses is
 * malformed HTTP if it names `HTTP/` anywhere, asks for a path or a URL, or is a GET; else it is not HTTP.
 */
export function readRequestLine(buf: Uint8Array, start: number, end: number): RequestLineResult {
  const limit = Math.min(end, start + MAX_HEAD);
  let at = start;
  // A server should skip at least one empty line before the request (RFC 9112 §2.2).
  for (let blank = 0; at < limit && (buf[at] === CR || buf[at] === LF); blank++) {
    if (buf[at] === LF) return malformed("BareLineFeed");
    if (at + 1 >= limit) return NEED;
    if (buf[at + 1] !== LF) return blank === 0 ? NOT_HTTP : malformed("BareCarriageReturn");
    if (blank === 2) return malformed("LeadingLines");
    at += 2;
  }
  const methodStart = at;
  while (at < limit && TOKEN[buf[at]!] === 1) at++;
  if (at - methodStart > MAX_METHOD) return malformed("MethodTooLong");
  if (at >= limit) return NEED;
  if (!isWhitespace(buf[at]!)) return NOT_HTTP;
  if (at + 1 >= limit) return NEED;
  const second = buf[at + 1]!;
  if (second === LF || (second < SP && !isWhitespace(second))) return NOT_HTTP;
  return wholeLine(buf, methodStart, at, start, end);
}

function malformed(problem: RequestLineProblem): RequestLineResult {
  return { kind: "malformed", problem };
}

/** What a lenient reader takes for a separator (RFC 9112 §3). */
function isWhitespace(c: number): boolean {
  return c === SP || (c >= HTAB && c <= CR && c !== LF);
}

function wholeLine(
  buf: Uint8Array,
  methodStart: number,
  methodEnd: number,
  start: number,
  end: number,
): RequestLineResult {
  const limit = Math.min(end, start + MAX_HEAD);
  let at = methodEnd + 1;
  let whitespace = buf[methodEnd] === SP ? 1 : 2;
  for (; at < limit && buf[at] !== LF; at++) {
    const c = buf[at]!;
    if (c === SP) whitespace++;
    else if (c < SP || c === 0x7f) {
      if (!isWhitespace(c)) return buf[methodEnd + 1] === SLASH ? malformed("RequestCharacter") : NOT_HTTP;
      if (c !== CR || (at + 1 < limit && buf[at + 1] !== LF)) whitespace = 3;
    }
  }
  if (at >= limit) return end - start >= MAX_HEAD ? malformed("HeadTooLong") : NEED_LINE;
  const lineEnd = buf[at - 1] === CR ? at - 1 : at;
  const versionStart = lineEnd - VERSION_LENGTH;
  const strict = whitespace === 2 && versionStart > methodEnd + 2 && buf[versionStart - 1] === SP;
  if (strict && equalsIgnoringCase(buf, versionStart, versionStart + 5, "http/")) {
    if (lineEnd === at) return malformed("BareLineFeed");
    return strictLine(buf, methodStart, methodEnd, versionStart, at + 1);
  }
  return refusedLine(buf, methodStart, methodEnd, lineEnd);
}

function strictLine(
  buf: Uint8Array,
  methodStart: number,
  methodEnd: number,
  versionStart: number,
  next: number,
): RequestLineResult {
  const version = asciiText(buf, versionStart, next - 2);
  if (version === "HTTP/2.0" && asciiText(buf, methodStart, versionStart) === "PRI * ") return { kind: "http2" };
  if (methodEnd === methodStart) return malformed("RequestWhitespace");
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") return malformed("Version");
  return {
    kind: "line",
    methodStart,
    methodEnd,
    targetStart: methodEnd + 1,
    targetEnd: versionStart - 1,
    version: version === "HTTP/1.1" ? "1.1" : "1.0",
    next,
  };
}

function refusedLine(buf: Uint8Array, methodStart: number, methodEnd: number, lineEnd: number): RequestLineResult {
  for (let at = methodStart; at + 5 <= lineEnd; at++) {
    if (equalsIgnoringCase(buf, at, at + 5, "http/")) return malformed("RequestWhitespace");
  }
  let target = methodEnd;
  while (target < lineEnd && isWhitespace(buf[target]!)) target++;
  const url = equalsIgnoringCase(buf, target, Math.min(target + 4, lineEnd), "http");
  const get = asciiText(buf, methodStart, methodEnd) === "GET";
  return url || get || (target < lineEnd && buf[target] === SLASH) ? malformed("Http09") : NOT_HTTP;
}
