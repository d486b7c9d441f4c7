import { asciiText, hexValue, SLASH, UNRESERVED } from "./ascii.ts";

/** Why two servers could read a path differently: rules on it cannot hold, so it is refused (EVASION 45). */
export type PathProblem =
  | "PathCharacter"
  | "PathFragment"
  | "PathPercent"
  | "PathEncodedSlash"
  | "PathBackslash"
  | "PathEncodedControl"
  | "PathAboveRoot"
  | "PathDotSegment";

export interface NormalisedPath {
  /** Starts with `/`; null where `problem` is not. */
  readonly path: string | null;
  readonly problem: PathProblem | null;
}

/**
 * Whether a request with this problem can still be read in one way as a message: only its path has several meanings, so rules on
 * paths cannot hold for it and rules on names can. The others may end the request line for one server and not for another.
 */
export function onlyPathIsAmbiguous(problem: PathProblem): boolean {
  return problem !== "PathCharacter" && problem !== "PathFragment";
}

const PERCENT = 0x25;
const HASH = 0x23;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;
const DOT = 0x2e;
const SEMICOLON = 0x3b;
const HEX = "0123456789ABCDEF";

/**
 * The path of the target `buf[start, end)` (which starts with `/`), in the one spelling that rules are written in: escapes of
 * unreserved characters decoded, the others in upper case (RFC 3986 §6.2.2), `.` and `..` resolved, `//` collapsed, query
 * cut off. `;params` stay. What has no one meaning is a problem, not a guess.
 */
export function normalisePath(buf: Uint8Array, start: number, end: number): NormalisedPath {
  let plain = true;
  let at = start;
  for (; at < end; at++) {
    const c = buf[at]!;
    if (c === QUESTION) break;
    if (c === HASH) return bad("PathFragment");
    if (c === BACKSLASH) return bad("PathBackslash");
    if (c <= 0x20 || c >= 0x7f) return bad("PathCharacter");
    if (c === PERCENT) plain = false;
    else if ((c === DOT || c === SLASH) && at > start && buf[at - 1] === SLASH) plain = false;
  }
  for (let rest = at; rest < end; rest++) {
    const c = buf[rest]!;
    if (c === HASH) return bad("PathFragment");
    if (c <= 0x20 || c === 0x7f) return bad("PathCharacter");
  }
  if (plain) return { path: asciiText(buf, start, at), problem: null };
  const decoded = decode(buf, start, at);
  return typeof decoded === "string" ? resolve(decoded) : bad(decoded.problem);
}

function bad(problem: PathProblem): NormalisedPath {
  return { path: null, problem };
}

function decode(buf: Uint8Array, start: number, end: number): string | { problem: PathProblem } {
  let text = "";
  for (let at = start; at < end; at++) {
    const c = buf[at]!;
    if (c !== PERCENT) {
      text += String.fromCharCode(c);
      continue;
    }
    const high = at + 2 < end ? hexValue(buf[at + 1]!) : -1;
    const low = at + 2 < end ? hexValue(buf[at + 2]!) : -1;
    if (high < 0 || low < 0) return { problem: "PathPercent" };
    const value = high * 16 + low;
    if (value === SLASH) return { problem: "PathEncodedSlash" };
    if (value === BACKSLASH) return { problem: "PathBackslash" };
    if (value < 0x20 || value === 0x7f) return { problem: "PathEncodedControl" };
    text += UNRESERVED[value] === 1 ? String.fromCharCode(value) : `%${HEX[high]}${HEX[low]}`;
    at += 2;
  }
  return text;
}

function resolve(decoded: string): NormalisedPath {
  const kept: string[] = [];
  const segments = decoded.split("/");
  let empty = false;
  let up = false;
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index]!;
    const last = index === segments.length - 1;
    if (segment === "" && !last) empty = true;
    else if (segment === "..") {
      up = true;
      if (kept.pop() === undefined) return bad("PathAboveRoot");
      if (last) kept.push("");
    } else if (segment === ".") {
      if (last) kept.push("");
    } else if (isDotsWithParameters(segment)) return bad("PathDotSegment");
    else kept.push(segment);
  }
  // `/a//../b` is `/a/b` where empty segments count and `/b` where they do not.
  if (empty && up) return bad("PathDotSegment");
  return { path: `/${kept.join("/")}`, problem: null };
}

/** `..;x` is a plain name for some servers and, with the parameter cut off, the way up for others. */
function isDotsWithParameters(segment: string): boolean {
  const dots = segment.charCodeAt(0) !== DOT ? 0 : segment.charCodeAt(1) !== DOT ? 1 : 2;
  return dots > 0 && (segment.charCodeAt(dots) === SEMICOLON || segment.startsWith("%3B", dots));
}
