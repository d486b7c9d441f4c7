import type { DnsMessage } from "./dns.ts";
import { SERVICE_KEY, type ServiceBinding } from "./dns-service-binding.ts";
import { half, writeHalf } from "./network-order.ts";

/** Bytes that changed, counted from the start of the DNS message; end exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

interface Parameter {
  readonly key: number;
  readonly value: Uint8Array;
}

/** Some record holds ECH keys. */
export function hidesNames(message: DnsMessage): boolean {
  return hasKeys(message.answers) || hasKeys(message.authority) || hasKeys(message.additional);
}

function hasKeys(records: DnsMessage["answers"]): boolean {
  for (const { service } of records) if (service !== null && service.echStart >= 0) return true;
  return false;
}

/**
 * Takes the ECH keys (SvcParam 5, RFC 9460 §14.3.2) out of every SVCB and HTTPS record of `message`, in place and at constant
 * length, so that TCP sequence numbers stay true: the room goes to a parameter with a private-use key, which clients
 * ignore. A client without keys falls back to plain server names. `parsed` is the result of parsing the same bytes;
 * `at` is where the message starts in `message`. Returns the ranges that changed, none if there was no key.
 * A DNSSEC signature over the record no longer fits; a pod that validates by itself falls back to A and AAAA.
 */
export function stripEncryptedClientHello(
  message: Uint8Array,
  parsed: DnsMessage,
  at: number = parsed.start,
): ByteRange[] {
  const ranges: ByteRange[] = [];
  const shift = at - parsed.start;
  for (const section of [parsed.answers, parsed.authority, parsed.additional]) {
    for (const record of section) {
      if (record.service === null || record.service.echStart < 0) continue;
      stripRecord(message, record.service, shift);
      ranges.push({
        start: record.service.parametersStart - parsed.start,
        end: record.service.parametersEnd - parsed.start,
      });
    }
  }
  return ranges;
}

function stripRecord(message: Uint8Array, service: ServiceBinding, shift: number): void {
  const start = service.parametersStart + shift;
  const end = service.parametersEnd + shift;
  const parameters = readParameters(message, start, end).filter((parameter) => parameter.key !== SERVICE_KEY.ech);
  const kept = parameters.map(withoutMandatoryKey).filter((parameter) => parameter !== null);
  const room = end - start - kept.reduce((sum, parameter) => sum + 4 + parameter.value.length, 0);
  const padding = { key: freePrivateKey(kept), value: new Uint8Array(room - 4) };
  const ordered = [...kept, padding].sort((a, b) => a.key - b.key);
  let position = start;
  for (const { key, value } of ordered) {
    writeHalf(message, position, key);
    writeHalf(message, position + 2, value.length);
    message.set(value, position + 4);
    position += 4 + value.length;
  }
}

/** The values are copies: they are written back over where they were read. The bounds were checked by the parser. */
function readParameters(message: Uint8Array, start: number, end: number): Parameter[] {
  const parameters: Parameter[] = [];
  for (let at = start; at + 4 <= end; ) {
    const next = at + 4 + half(message, at + 2);
    parameters.push({ key: half(message, at), value: message.slice(at + 4, next) });
    at = next;
  }
  return parameters;
}

/** `mandatory` may not name a key that is gone, nor be empty (RFC 9460 §8): the client would refuse the record. */
function withoutMandatoryKey(parameter: Parameter): Parameter | null {
  if (parameter.key !== SERVICE_KEY.mandatory) return parameter;
  const keys: number[] = [];
  for (let at = 0; at + 1 < parameter.value.length; at += 2) {
    const key = half(parameter.value, at);
    if (key !== SERVICE_KEY.ech) keys.push(key >>> 8, key & 0xff);
  }
  return keys.length === 0 ? null : { key: parameter.key, value: Uint8Array.from(keys) };
}

/** The lowest key of the private range that the record does not use; below the range if all of it is taken. */
function freePrivateKey(parameters: readonly Parameter[]): number {
  const used = new Set(parameters.map((parameter) => parameter.key));
  for (let key = SERVICE_KEY.firstPrivate; key <= SERVICE_KEY.lastPrivate; key++) if (!used.has(key)) return key;
  let key = SERVICE_KEY.firstPrivate - 1;
  while (used.has(key)) key--;
  return key;
}
