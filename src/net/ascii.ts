/** Bytes that HTTP gives a meaning. */
export const HTAB = 9;
export const LF = 10;
export const CR = 13;
export const SP = 32;
export const COLON = 58;
export const SLASH = 47;

/** 1 where the byte may stand in a token (RFC 9110 §5.6.2). */
export const TOKEN: Uint8Array = byteSet(
  "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
);

/** 1 for the unreserved characters of RFC 3986 §2.3. */
export const UNRESERVED: Uint8Array = byteSet("-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

function byteSet(characters: string): Uint8Array {
  const set = new Uint8Array(256);
  for (let index = 0; index < characters.length; index++) set[characters.charCodeAt(index)] = 1;
  return set;
}

/** Value of a hexadecimal digit, -1 for any other byte. */
export function hexValue(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** True if `buf[start, end)` is `lower` (ASCII, lower case) in any case. */
export function equalsIgnoringCase(buf: Uint8Array, start: number, end: number, lower: string): boolean {
  if (end - start !== lower.length) return false;
  for (let index = 0; index < lower.length; index++) {
    const c = buf[start + index]!;
    if ((c >= 0x41 && c <= 0x5a ? c + 0x20 : c) !== lower.charCodeAt(index)) return false;
  }
  return true;
}

/** Each byte as one character. */
export function asciiText(buf: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(buf[at]!);
  return text;
}
