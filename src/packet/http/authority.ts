import { asciiText, COLON, hexValue } from "../../net/ascii.ts";
import { readHostName } from "../host-name.ts";

/** `host[:port]` of a Host field or a request target (RFC 3986 §3.2). */
export interface Authority {
  /** Canonical name; null if it is an address. */
  readonly host: string | null;
  readonly isAddress: boolean;
  /** The host alone, lower case, for comparing. */
  readonly text: string;
  /** -1: none given. */
  readonly port: number;
}

export const NO_AUTHORITY: Authority = { host: null, isAddress: false, text: "", port: -1 };

/** Null: not an authority, or one with user information, which servers split in different places. */
export function readAuthority(buf: Uint8Array, start: number, end: number): Authority | null {
  if (start < end && buf[start] === 0x5b) return readLiteral(buf, start, end);
  let hostEnd = start;
  while (hostEnd < end && buf[hostEnd] !== COLON) hostEnd++;
  const port = readPort(buf, hostEnd, end);
  if (port === null) return null;
  const host = readHostName(buf, start, hostEnd);
  if (host.name !== null) return { host: host.name, isAddress: false, text: host.name, port };
  if (host.problem !== "Address") return null;
  return { host: null, isAddress: true, text: asciiText(buf, start, hostEnd).toLowerCase(), port };
}

function readLiteral(buf: Uint8Array, start: number, end: number): Authority | null {
  let at = start + 1;
  while (at < end && (hexValue(buf[at]!) >= 0 || buf[at] === COLON || buf[at] === 0x2e)) at++;
  if (at === end || buf[at] !== 0x5d || at < start + 3) return null;
  const port = readPort(buf, at + 1, end);
  if (port === null) return null;
  return { host: null, isAddress: true, text: asciiText(buf, start, at + 1).toLowerCase(), port };
}

/** What follows the host: nothing, `:` or `:` and a port. */
function readPort(buf: Uint8Array, start: number, end: number): number | null {
  if (start === end || (start + 1 === end && buf[start] === COLON)) return -1;
  if (buf[start] !== COLON || end - start > 6) return null;
  let port = 0;
  for (let at = start + 1; at < end; at++) {
    const digit = buf[at]! - 0x30;
    if (digit < 0 || digit > 9) return null;
    port = port * 10 + digit;
  }
  return port <= 0xffff ? port : null;
}
