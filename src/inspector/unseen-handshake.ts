import { seqAdd } from "../packet/tcp.ts";
import type { TcpFlow } from "./tcp-flow.ts";

/** RFC 7323 §2.3. */
export const MOST_SCALE = 14;
/** A SYN-ACK's window is never scaled (RFC 7323 §2.2). */
export const FIRST_WINDOW = 0xffff;

/**
 * The SYN-ACK went by unasked (docs/adr/0011-bare-syn-acks.md): the server's numbers are taken from the first segment that is seen. `next` is
 * the sequence number that the client says it expects, or that the server begins with.
 *
 * A pod that lies here gains nothing. With a number too high its server discards the segment, and with it what was
 * inspected, while true numbers are refused from then on; with one too low the server's answer leaves a gap before it and is
 * dropped, so the flow is never handed over. How far the server scales its windows is unknown, so the widest is taken: the check
 * of windows is not what holds (DESIGN §4.4), the comparison of copies is.
 *
 * False: only the SYN-ACK of an undecided flow goes unasked, and only where no other SYN than the flow's own can have been answered.
 */
export function unseenHandshake(flow: TcpFlow, next: number): boolean {
  if (flow.phase !== "looking" || flow.wantsSynAck) return false;
  takeServerNumbers(flow, seqAdd(next, -1), FIRST_WINDOW, MOST_SCALE);
  return true;
}

/** `scale`: that of the server's windows, -1 where it does not scale them. Scaling counts only if both sides offer it (RFC 7323 §2.2). */
export function takeServerNumbers(flow: TcpFlow, isn: number, window: number, scale: number): void {
  flow.serverKnown = true;
  flow.serverIsn = isn;
  flow.serverNext = seqAdd(isn, 1);
  flow.serverWindow = window;
  flow.serverScale = flow.clientScale >= 0 && scale >= 0 ? Math.min(scale, MOST_SCALE) : 0;
}
