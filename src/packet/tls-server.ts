import { half } from "./network-order.ts";

/** What the server's first bytes are, as far as the inspector must know. */
export type ServerFirst =
  | { readonly kind: "need" }
  /** After a HelloRetryRequest the client says hello again, perhaps with another name: the flow is not decided yet. */
  | { readonly kind: "serverHello"; readonly helloRetryRequest: boolean }
  | { readonly kind: "alert"; readonly level: number; readonly description: number }
  | { readonly kind: "other" };

/** The random that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3). */
const RETRY_RANDOM = Uint8Array.of(
  ...[0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91],
  ...[0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c],
);

/** Message header (4), legacy version (2), random (32): enough to tell. */
const WANTED = 38;

const NEED: ServerFirst = { kind: "need" };
const OTHER: ServerFirst = { kind: "other" };

/** Reads the start of the server's byte stream `buf[start, end)`; the ServerHello may be cut into many records. */
export function readServerFirst(buf: Uint8Array, start: number, end: number): ServerFirst {
  if (end <= start) return NEED;
  const type = buf[start]!;
  if (type !== 21 && type !== 22) return OTHER;
  if (end - start > 1 && buf[start + 1] !== 3) return OTHER;
  if (type === 21) {
    if (end - start < 7) return NEED;
    const whole = half(buf, start + 3) === 2;
    return whole ? { kind: "alert", level: buf[start + 5]!, description: buf[start + 6]! } : OTHER;
  }
  return readServerHello(buf, start, end);
}

function readServerHello(buf: Uint8Array, start: number, end: number): ServerFirst {
  let index = 0;
  let retry = true;
  for (let at = start; at + 5 <= end; ) {
    const size = half(buf, at + 3);
    if (buf[at] !== 22 || buf[at + 1] !== 3 || size === 0 || size > 1 << 14) return OTHER;
    const next = at + 5 + size;
    for (let byte = at + 5; byte < next && byte < end; byte++) {
      const value = buf[byte]!;
      if (index === 0 && value !== 2) return OTHER;
      if (index === 4 && value !== 3) return OTHER;
      if (index >= 6 && value !== RETRY_RANDOM[index - 6]) retry = false;
      if (++index === WANTED) return { kind: "serverHello", helloRetryRequest: retry };
    }
    at = next;
  }
  return NEED;
}
