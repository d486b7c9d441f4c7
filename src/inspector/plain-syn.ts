import { patchTcpPayload } from "../packet/build.ts";
import type { Arrival } from "./lane.ts";

const END = 0;
const NO_OPERATION = 1;
const NOTHING = new Uint8Array(0);

/** Maximum segment size, window scale, SACK permitted, time stamps: with the sizes that they have in a SYN. */
const SIZES: ReadonlyMap<number, number> = new Map([
  [2, 4],
  [3, 3],
  [4, 2],
  [8, 10],
]);

/**
 * A SYN with only the options that plain TCP knows, as a new packet; null where it has no others. An option that a server
 * does not understand is ignored, so both ends speak plain TCP without it, as they do behind many middleboxes.
 *
 * Above all Multipath TCP goes (RFC 8684): under it the server's stream is put together from several connections by sequence
 * numbers in options, so what is inspected on one of them need not be what the server reads. And the SYN of an
 * undecided flow passes to any address: an option of the sender's invention would be a letter to whoever listens there.
 *
 * The options have been found well-formed.
 */
export function plainSyn(arrival: Arrival): Uint8Array | null {
  const { packet, segment } = arrival;
  const buf = packet.bytes;
  let copy: Uint8Array | null = null;
  const blank = (from: number, to: number, kind: number): void => {
    copy ??= buf.slice(packet.start, packet.end);
    copy.fill(kind, from - packet.start, to - packet.start);
  };
  for (let at = segment.optionsStart; at < segment.payloadStart; ) {
    const kind = buf[at]!;
    if (kind === NO_OPERATION) {
      at++;
      continue;
    }
    const size = kind === END ? 0 : (buf[at + 1] ?? 0);
    if (size < 2 || at + size > segment.payloadStart) {
      // Behind the end there is only padding.
      if (buf.subarray(at, segment.payloadStart).some((byte) => byte !== 0)) blank(at, segment.payloadStart, END);
      break;
    }
    if (SIZES.get(kind) !== size) blank(at, at + size, NO_OPERATION);
    at += size;
  }
  return copy === null ? null : patchTcpPayload(copy, 0, NOTHING);
}
