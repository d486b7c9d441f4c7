import { isNameByte } from "./host-name.ts";

/** Where a name was read: its text and the first byte after it. Reused within one message. */
export interface NameCursor {
  /**
   * Lower case, without the trailing dot; the root is "". Null: a name that plain text cannot hold (a byte outside
   * letters, digits, `-`, `_`, `*`, such as a dot inside a label). No policy names it, so the caller denies it.
   */
  text: string | null;
  next: number;
}

export type DnsNameProblem = "NameOverrun" | "NameTooLong" | "NamePointer" | "NameLabelType";

const MAX_WIRE = 255;
const DOT = ".";
const STAR = 0x2a;

/**
 * Reads the name at `at` in the message `buf[start, end)` (RFC 1035 §4.1.4). A pointer must lead to before the labels
 * that hold it, so every jump goes back and the walk ends; `limit` is where the labels at `at` themselves must end.
 */
export function readDnsName(
  buf: Uint8Array,
  start: number,
  limit: number,
  at: number,
  into: NameCursor,
): DnsNameProblem | null {
  let text: string | null = "";
  let wire = 1;
  let position = at;
  let stretch = at;
  let jumped = false;
  for (;;) {
    if (position >= limit) return "NameOverrun";
    const size = buf[position]!;
    if (size === 0) break;
    if (size >= 0xc0) {
      if (position + 1 >= limit) return "NameOverrun";
      const target = start + (((size & 0x3f) << 8) | buf[position + 1]!);
      if (target < start + 12 || target >= stretch) return "NamePointer";
      if (!jumped) into.next = position + 2;
      jumped = true;
      position = stretch = target;
      continue;
    }
    if (size > 63) return "NameLabelType";
    wire += size + 1;
    if (wire > MAX_WIRE) return "NameTooLong";
    if (position + size >= limit) return "NameOverrun";
    text = appendLabel(buf, position + 1, position + 1 + size, text);
    position += size + 1;
  }
  into.text = text;
  if (!jumped) into.next = position + 1;
  return null;
}

function appendLabel(buf: Uint8Array, start: number, end: number, before: string | null): string | null {
  if (before === null) return null;
  let text = before === "" ? "" : before + DOT;
  for (let at = start; at < end; at++) {
    let c = buf[at]!;
    if (c >= 0x41 && c <= 0x5a) c += 0x20;
    else if (!isNameByte(c) && c !== STAR) return null;
    text += String.fromCharCode(c);
  }
  return text;
}
