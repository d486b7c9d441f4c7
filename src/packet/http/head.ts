import { asciiText, CR, equalsIgnoringCase, HTAB, LF, SLASH, SP } from "../../net/ascii.ts";
import { normalisePath, onlyPathIsAmbiguous, type PathProblem } from "../../net/url-path.ts";
import { type Authority, NO_AUTHORITY, readAuthority } from "./authority.ts";
import { type FieldProblem, type Fields, newFields, readFields } from "./fields.ts";
import { MAX_HEAD, type RequestLine, type RequestLineProblem, readRequestLine } from "./request-line.ts";

/** One request as rules see it. */
export interface RequestHead {
  readonly kind: "head";
  /** As sent: methods are case-sensitive (RFC 9110 §9.1). */
  readonly method: string;
  readonly form: "origin" | "absolute" | "authority" | "asterisk";
  /** Canonical name; null for an address, and where HTTP/1.0 names no host or the field is empty. */
  readonly host: string | null;
  readonly hostIsAddress: boolean;
  /** Normalised, without query; null for CONNECT; `*` for the asterisk form. Undefined: it has more than one meaning, so no rule on paths knows it. */
  readonly path: string | null | undefined;
  readonly version: "1.0" | "1.1";
  /** Bytes of body; 0 if none is announced. */
  readonly contentLength: number;
  readonly chunked: boolean;
  /** Value of the Upgrade field in lower case, whether or not Connection names it. */
  readonly upgrade: string | null;
  readonly connect: boolean;
  /** Another request may follow on this connection. */
  readonly keepAlive: boolean;
  readonly headEnd: number;
}

export type RequestHeadResult =
  | RequestHead
  /** Hand `scanned` back with more bytes: what was seen to hold no end of a line is not parsed again. */
  | { readonly kind: "need"; readonly scanned: number }
  | { readonly kind: "malformed"; readonly problem: HttpProblem }
  | { readonly kind: "notHttp" }
  | { readonly kind: "http2" };

export type HttpProblem =
  | RequestLineProblem
  | FieldProblem
  | PathProblem
  | "HostMissing"
  | "HostConflict"
  | "Target"
  | "LengthAndChunked"
  | "ChunkedInHttp10"
  | "BodyOfConnect";

interface Target {
  readonly form: RequestHead["form"];
  readonly authority: Authority | null;
  readonly path: string | null | undefined;
}

const HTTP_PORT = 80;

/**
 * Reads the request head at the start of `buf[start, end)`, strictly (RFC 9112): whatever two servers could read
 * differently is malformed (EVASION 39 to 45). At most 64 KiB. Stateless; `scanned` is of the last "need", else 0.
 */
export function readRequestHead(buf: Uint8Array, start: number, end: number, scanned = 0): RequestHeadResult {
  if (scanned > 0 && !holdsNews(buf, start + scanned, end)) return needMore(start, end);
  const line = readRequestLine(buf, start, end);
  if (line.kind === "need") return { kind: "need", scanned: line.inLine ? end - start : 0 };
  if (line.kind !== "line") return line;
  const fields = newFields();
  const outcome = readFields(buf, line.next, Math.min(end, start + MAX_HEAD), fields);
  if (outcome === "need") return needMore(start, end);
  if (outcome !== "end") return malformed(outcome);
  return assemble(buf, line, fields);
}

function malformed(problem: HttpProblem): RequestHeadResult {
  return { kind: "malformed", problem };
}

function needMore(start: number, end: number): RequestHeadResult {
  return end - start >= MAX_HEAD ? malformed("HeadTooLong") : { kind: "need", scanned: end - start };
}

/** Bytes that can change "need": the end of a line, or a control character, which ends the reading at once. */
function holdsNews(buf: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const c = buf[at]!;
    if (c === LF || c === 0x7f || (c < SP && (c < HTAB || c > CR))) return true;
  }
  return false;
}

function assemble(buf: Uint8Array, line: RequestLine, fields: Fields): RequestHeadResult {
  const connect = equalsConnect(buf, line);
  const target = readTarget(buf, line, connect);
  if (typeof target === "string") return malformed(target);
  const problem = conflict(line, fields, target, connect);
  if (problem !== null) return malformed(problem);
  const authority = fields.host ?? target.authority ?? NO_AUTHORITY;
  return {
    kind: "head",
    method: asciiText(buf, line.methodStart, line.methodEnd),
    form: target.form,
    host: authority.host,
    hostIsAddress: authority.isAddress,
    path: target.path,
    version: line.version,
    contentLength: Math.max(0, fields.contentLength),
    chunked: fields.chunked,
    upgrade: fields.upgrade,
    connect,
    keepAlive: !fields.close && (line.version === "1.1" || fields.keepAlive),
    headEnd: fields.end,
  };
}

function equalsConnect(buf: Uint8Array, line: RequestLine): boolean {
  return equalsIgnoringCase(buf, line.methodStart, line.methodEnd, "connect");
}

function conflict(line: RequestLine, fields: Fields, target: Target, connect: boolean): HttpProblem | null {
  if (fields.host === null && line.version === "1.1") return "HostMissing";
  if (fields.host !== null && target.authority !== null && !sameAuthority(fields.host, target.authority)) {
    return "HostConflict";
  }
  if (fields.chunked && fields.contentLength >= 0) return "LengthAndChunked";
  if (fields.chunked && line.version === "1.0") return "ChunkedInHttp10";
  return connect && (fields.chunked || fields.contentLength > 0) ? "BodyOfConnect" : null;
}

function sameAuthority(a: Authority, b: Authority): boolean {
  const port = (authority: Authority): number => (authority.port < 0 ? HTTP_PORT : authority.port);
  return a.text === b.text && port(a) === port(b);
}

/** The four forms of RFC 9112 §3.2. */
function readTarget(buf: Uint8Array, line: RequestLine, connect: boolean): Target | HttpProblem {
  const start = line.targetStart;
  const end = line.targetEnd;
  if (connect) {
    const authority = readAuthority(buf, start, end);
    return authority === null ? "Target" : { form: "authority", authority, path: null };
  }
  if (buf[start] === SLASH) {
    return withPath(buf, start, end, "origin", null);
  }
  if (equalsIgnoringCase(buf, start, end, "*")) {
    const options = equalsIgnoringCase(buf, line.methodStart, line.methodEnd, "options");
    return options ? { form: "asterisk", authority: null, path: "*" } : "Target";
  }
  return readAbsolute(buf, start, end);
}

function readAbsolute(buf: Uint8Array, start: number, end: number): Target | HttpProblem {
  const scheme = start + "http://".length;
  if (scheme >= end || !equalsIgnoringCase(buf, start, scheme, "http://")) return "Target";
  let slash = scheme;
  while (slash < end && buf[slash] !== SLASH && buf[slash] !== 0x3f) slash++;
  const authority = readAuthority(buf, scheme, slash);
  if (authority === null) return "Target";
  if (slash === end || buf[slash] !== SLASH) {
    const query = normalisePath(buf, slash, end);
    return query.problem ?? { form: "absolute", authority, path: "/" };
  }
  return withPath(buf, slash, end, "absolute", authority);
}

function withPath(
  buf: Uint8Array,
  start: number,
  end: number,
  form: "origin" | "absolute",
  authority: Authority | null,
): Target | HttpProblem {
  const { path, problem } = normalisePath(buf, start, end);
  if (problem === null) return { form, authority, path };
  return onlyPathIsAmbiguous(problem) ? { form, authority, path: undefined } : problem;
}
