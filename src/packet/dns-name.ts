import { isNameByte } from "./host-name.ts";

/** Where a name was read: its text and the first byte after it. One for each message, for all its names. */
export interface NameCursor {
  /**
   * Lower case, without the trailing dot; the root is "". Null: a name that plain text cannot hold (a byte outside
   * letters, digits, `-`, `_`, `*`, such as a dot inside a label). No policy names it, so the caller denies it.
   */
  text: string | null;
  next: number;
  /** The last name that was nothing but a pointer: most records of an answer point to the same. -1: none yet. */
  lastTarget: number;
  lastText: string | null;
  /** Bytes of names that may still be decompressed: a small message must not unfold into a large one. */
  budget: number;
}

export type DnsNameProblem = "NameOverrun" | "NameTooLong" | "NamePointer" | "NameLabelType" | "NamesTooLong";

const MAX_WIRE = 255;
/** An honest jump leads to at least one more label. Chains of bare pointers would make each record cost thousands. */
const MAX_JUMPS = 127;
const MAX_ALL_NAMES = 1 << 14;
const DOT = ".";
const STAR = 0x2a;

export function newNameCursor(): NameCursor {
  return { text: null, next: 0, lastTarget: -1, lastText: null, budget: MAX_ALL_NAMES };
}

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
  let jumps = 0;
  for (;;) {
    if (position >= limit) return "NameOverrun";
    const size = buf[position]!;
    if (size === 0) break;
    if (size >= 0xc0) {
      if (position + 1 >= limit) return "NameOverrun";
      const target = start + (((size & 0x3f) << 8) | buf[position + 1]!);
      if (target < start + 12 || target >= stretch || jumps === MAX_JUMPS) return "NamePointer";
      if (position === at && target === into.lastTarget) return reuse(into, at + 2);
      if (jumps++ === 0) into.next = position + 2;
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
  into.budget -= wire;
  if (into.budget < 0) return "NamesTooLong";
  if (jumps > 0 && into.next === at + 2) {
    into.lastTarget = start + (((buf[at]! & 0x3f) << 8) | buf[at + 1]!);
    into.lastText = text;
  }
  into.text = text;
  if (jumps === 0) into.next = position + 1;
  return null;
}

function reuse(into: NameCursor, next: number): null {
  into.text = into.lastText;
  into.next = next;
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
