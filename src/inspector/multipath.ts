import { patchTcpPayload } from "../packet/build.ts";
import type { Arrival } from "./lane.ts";

const MULTIPATH = 30;
const NO_OPERATION = 1;
const NOTHING = new Uint8Array(0);

/**
 * A SYN without its Multipath TCP option (RFC 8684), as a new packet; null where there is none. Under Multipath TCP the
 * server's stream is put together from several connections by sequence numbers in options, so what is inspected on one of
 * them need not be what the server reads. Without the option in the SYN both ends speak plain TCP, as they do behind many
 * middleboxes. The options have been found well-formed.
 */
export function withoutMultipath(arrival: Arrival): Uint8Array | null {
  const { packet, segment } = arrival;
  const buf = packet.bytes;
  let copy: Uint8Array | null = null;
  for (let at = segment.optionsStart; at < segment.payloadStart && buf[at] !== 0; ) {
    if (buf[at] === NO_OPERATION) {
      at++;
      continue;
    }
    const size = buf[at + 1] ?? 0;
    if (size < 2 || at + size > segment.payloadStart) break;
    if (buf[at] === MULTIPATH) {
      copy ??= buf.slice(packet.start, packet.end);
      copy.fill(NO_OPERATION, at - packet.start, at - packet.start + size);
    }
    at += size;
  }
  return copy === null ? null : patchTcpPayload(copy, 0, NOTHING);
}
