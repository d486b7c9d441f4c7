import { word } from "./network-order.ts";

/**
 * True for bytes that a QUIC server would take for a packet with a long header (RFC 8999 §5.1): form bit, a version that is
 * known (1, 2, a draft, or one of those reserved to force version negotiation, RFC 9000 §15), connection IDs that fit.
 */
export function looksLikeQuicLongHeader(buf: Uint8Array, start: number, end: number): boolean {
  if (end - start < 7 || (buf[start]! & 0x80) === 0) return false;
  const version = word(buf, start + 1);
  const draft = version >>> 8 === 0xff0000;
  const reserved = (version & 0x0f0f0f0f) === 0x0a0a0a0a;
  if (version !== 1 && version !== 0x6b3343cf && !draft && !reserved) return false;
  const sourceIdAt = start + 6 + buf[start + 5]!;
  return sourceIdAt < end && sourceIdAt + 1 + buf[sourceIdAt]! <= end;
}
