/** What a flow says its server is called (SNI, Host): a canonical name, or why it is none. */
export interface HostName {
  /** Lower case, no trailing dot; null where `problem` is not. */
  readonly name: string | null;
  readonly problem: HostNameProblem | null;
}

/** `Address`: an IP literal, or what some resolvers read as one (`127.1`, `0x7f000001`). */
export type HostNameProblem = "Empty" | "TooLong" | "Label" | "Character" | "Address";

const DOT = 0x2e;

/**
 * Reads `buf[start, end)` as a host name: letters, digits, `-`, `_`, labels of 1 to 63 bytes, 253 in all (RFC 1123 §2.1). One
 * trailing dot and upper case are normalised; anything else that two readers could take differently is a problem.
 */
export function readHostName(buf: Uint8Array, start: number, end: number): HostName {
  const last = end > start && buf[end - 1] === DOT ? end - 1 : end;
  if (last === start) return bad("Empty");
  if (last - start > 253) return bad("TooLong");
  let name = "";
  let label = start;
  for (let at = start; at < last; at++) {
    let c = buf[at]!;
    if (c === DOT) {
      if (at === label || at - label > 63) return bad("Label");
      label = at + 1;
    } else if (c >= 0x41 && c <= 0x5a) c += 0x20;
    else if (!isNameByte(c)) return bad("Character");
    name += String.fromCharCode(c);
  }
  if (last === label || last - label > 63) return bad("Label");
  return isNumber(buf, label, last) ? bad("Address") : { name, problem: null };
}

function bad(problem: HostNameProblem): HostName {
  return { name: null, problem };
}

/** Lower-case letters, digits, `-` and `_`. */
export function isNameByte(c: number): boolean {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x5f;
}

/** A last label that is a decimal or hexadecimal number makes the whole an IPv4 address (WHATWG URL, host parser). */
function isNumber(buf: Uint8Array, start: number, end: number): boolean {
  const hex = end - start >= 2 && buf[start] === 0x30 && (buf[start + 1]! | 0x20) === 0x78;
  for (let at = hex ? start + 2 : start; at < end; at++) {
    const c = buf[at]!;
    const digit = c >= 0x30 && c <= 0x39;
    const letter = hex && (c | 0x20) >= 0x61 && (c | 0x20) <= 0x66;
    if (!digit && !letter) return false;
  }
  return true;
}
