import { type Address, ipv4 } from "../net/address.ts";
import { type DnsNameProblem, type NameCursor, readDnsName } from "./dns-name.ts";
import { half, word } from "./network-order.ts";

/** The data of an SVCB or HTTPS record (RFC 9460 §2). */
export interface ServiceBinding {
  /** 0: alias mode. */
  readonly priority: number;
  /** "" means the owner itself; null if text cannot hold it. */
  readonly target: string | null;
  /** From `ipv4hint` and `ipv6hint`. */
  readonly addresses: readonly Address[];
  /** Where the parameter `ech` lies, with its four-byte header; -1 if it is not there. */
  readonly echStart: number;
  readonly echEnd: number;
  readonly parametersStart: number;
  readonly parametersEnd: number;
}

export type ServiceBindingProblem = "ServiceParameters" | "ServiceHints" | DnsNameProblem;

export const SERVICE_KEY = { mandatory: 0, ipv4hint: 4, ech: 5, ipv6hint: 6, firstPrivate: 65280, lastPrivate: 65534 };

/** Reads record data `buf[at, end)` of the message that starts at `start`. Keys must rise strictly (RFC 9460 §2.2). */
export function readServiceBinding(
  buf: Uint8Array,
  start: number,
  at: number,
  end: number,
  cursor: NameCursor,
): ServiceBinding | ServiceBindingProblem {
  if (end - at < 3) return "ServiceParameters";
  const problem = readDnsName(buf, start, end, at + 2, cursor);
  if (problem !== null) return problem;
  const parametersStart = cursor.next;
  const addresses: Address[] = [];
  let echStart = -1;
  let echEnd = -1;
  let previous = -1;
  for (let position = parametersStart; position < end; ) {
    if (position + 4 > end) return "ServiceParameters";
    const key = half(buf, position);
    const next = position + 4 + half(buf, position + 2);
    if (key <= previous || next > end) return "ServiceParameters";
    if (key === SERVICE_KEY.ech) {
      echStart = position;
      echEnd = next;
    } else if (!readHints(buf, key, position + 4, next, addresses)) return "ServiceHints";
    previous = key;
    position = next;
  }
  return {
    priority: half(buf, at),
    target: cursor.text,
    addresses,
    echStart,
    echEnd,
    parametersStart,
    parametersEnd: end,
  };
}

function readHints(buf: Uint8Array, key: number, start: number, end: number, into: Address[]): boolean {
  const size = key === SERVICE_KEY.ipv4hint ? 4 : key === SERVICE_KEY.ipv6hint ? 16 : 0;
  if (size === 0) return true;
  if (end === start || (end - start) % size !== 0) return false;
  for (let at = start; at < end; at += size) {
    into.push(
      size === 4
        ? ipv4(word(buf, at))
        : { w0: word(buf, at), w1: word(buf, at + 4), w2: word(buf, at + 8), w3: word(buf, at + 12) },
    );
  }
  return true;
}
