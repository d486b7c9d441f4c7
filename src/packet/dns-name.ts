import { isNameByte } from "./host-name.ts";
import { type NameTexts, nameText } from "./name-texts.ts";

/** Where a name was read: its text and the first byte after it. One for each message, for all its names. */
export interface NameCursor {
  /**
   * Lower case, without the trailing dot; the root is "". Null: a name that plain text cannot hold (a byte outside
   * letters, digits, `-`, `_`, `*`, such as a dot inside a label). No policy names it, so the caller denies it.
   */
  text: string | null;
  next: number;
  /** Where the name lies that a pointer led to last, or the first name: most records of an answer point to the same. -1: none yet. */
  lastTarget: number;
  lastText: string | null;
  /** Bytes of names that may still be decompressed: a small message must not unfold into a large one. */
  budget: number;
  /** Null: for one message, which is not worth it. */
  readonly texts: NameTexts | null;
  /** The name that is being read. */
  readonly bytes: Uint8Array;
}

export type DnsNameProblem = "NameOverrun" | "NameTooLong" | "NamePointer" | "NameLabelType" | "NamesTooLong";

const MAX_WIRE = 255;
/** An honest jump leads to at least one more label. Chains of bare pointers would make each record cost thousands. */
const MAX_JUMPS = 127;
const MAX_ALL_NAMES = 1 << 14;
const DOT = 0x2e;
const STAR = 0x2a;

export function newNameCursor(texts: NameTexts | null = null): NameCursor {
  const bytes = new Uint8Array(MAX_WIRE);
  return { text: null, next: 0, lastTarget: -1, lastText: null, budget: MAX_ALL_NAMES, texts, bytes };
}

/** For the next message. */
export function resetNameCursor(cursor: NameCursor): void {
  cursor.text = cursor.lastText = null;
  cursor.next = 0;
  cursor.lastTarget = -1;
  cursor.budget = MAX_ALL_NAMES;
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
  let length = 0;
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
    if (length >= 0) length = appendLabel(buf, position + 1, position + 1 + size, into.bytes, length);
    position += size + 1;
  }
  into.budget -= wire;
  if (into.budget < 0) return "NamesTooLong";
  const text = length < 0 ? null : (into.texts?.text(into.bytes, length) ?? nameText(into.bytes, length));
  if (jumps === 0) {
    into.next = position + 1;
    if (into.lastTarget < 0) remember(into, at, text);
  } else if (into.next === at + 2) remember(into, start + (((buf[at]! & 0x3f) << 8) | buf[at + 1]!), text);
  into.text = text;
  return null;
}

function reuse(into: NameCursor, next: number): null {
  into.text = into.lastText;
  into.next = next;
  return null;
}

function remember(into: NameCursor, target: number, text: string | null): void {
  into.lastTarget = target;
  into.lastText = text;
}

/** Where the name ends now; -1: text cannot hold it. */
function appendLabel(buf: Uint8Array, start: number, end: number, bytes: Uint8Array, length: number): number {
  let to = length;
  if (to > 0) bytes[to++] = DOT;
  for (let at = start; at < end; at++) {
    let c = buf[at]!;
    if (c >= 0x41 && c <= 0x5a) c += 0x20;
    else if (!isNameByte(c) && c !== STAR) return -1;
    bytes[to++] = c;
  }
  return to;
}
