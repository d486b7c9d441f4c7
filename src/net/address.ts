/**
 * An IP address as four 32-bit words, unsigned, network order. IPv4 is held in its mapped form `::ffff:a.b.c.d`
 * (RFC 4291 §2.5.5.2), so that one look-up serves both families. A mapped address that arrives inside an IPv6 header
 * is refused by the packet parser: on the wire it has no business (EVASION 55).
 */
export interface Address {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

const MAPPED = 0xffff;

export function isIPv4(address: Address): boolean {
  return address.w0 === 0 && address.w1 === 0 && address.w2 === MAPPED;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.w3 === b.w3 && a.w2 === b.w2 && a.w1 === b.w1 && a.w0 === b.w0;
}

/** An IPv4 address from its 32-bit value (unsigned, network order). */
export function ipv4(value: number): Address {
  return { w0: 0, w1: 0, w2: MAPPED, w3: value >>> 0 };
}

/**
 * Reads 4 bytes (IPv4) or 16 bytes (IPv6) at `at`, network order. The caller has checked the length; 16 bytes in mapped
 * form give the IPv4 address, which a packet parser must refuse beforehand.
 */
export function addressFromBytes(bytes: Uint8Array, at: number, length: 4 | 16): Address {
  if (length === 4) return ipv4(wordAt(bytes, at));
  return { w0: wordAt(bytes, at), w1: wordAt(bytes, at + 4), w2: wordAt(bytes, at + 8), w3: wordAt(bytes, at + 12) };
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** 4 bytes for IPv4, 16 for IPv6, network order. */
export function addressToBytes(address: Address): Uint8Array {
  const words = isIPv4(address) ? [address.w3] : [address.w0, address.w1, address.w2, address.w3];
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word);
  return bytes;
}

/**
 * An address from its text form: IPv4 as four decimal numbers without leading zeros, IPv6 as in RFC 4291 §2.2 without a
 * zone. Null for anything else, the short and octal IPv4 forms of inet_aton included: two programs read those differently.
 */
export function parseAddress(text: string): Address | null {
  if (text.length > 45) return null;
  if (!text.includes(":")) {
    const value = parseDotted(text);
    return value === null ? null : ipv4(value);
  }
  return parseIPv6(text);
}

function parseDotted(text: string): number | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return null;
    value = value * 256 + Number(part);
  }
  return value;
}

function parseIPv6(text: string): Address | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (index: number) => ((all[index * 2]! << 16) | all[index * 2 + 1]!) >>> 0;
  return { w0: word(0), w1: word(1), w2: word(2), w3: word(3) };
}

/** The 16-bit groups of one side of `::`; the last may be an IPv4 address. */
function groups(text: string, mayEndDotted: boolean): number[] | null {
  if (text === "") return [];
  const parts = text.split(":");
  const found: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndDotted && index === parts.length - 1 && part.includes(".")) {
      const value = parseDotted(part);
      if (value === null) return null;
      found.push(value >>> 16, value & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) found.push(Number.parseInt(part, 16));
    else return null;
  }
  return found;
}

/** The canonical text form: dotted decimal, or RFC 5952. */
export function formatAddress(address: Address): string {
  if (isIPv4(address)) return formatDotted(address.w3);
  const all = [address.w0, address.w1, address.w2, address.w3].flatMap((word) => [word >>> 16, word & 0xffff]);
  const [start, length] = longestZeros(all);
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  return length < 2 ? hex(all) : `${hex(all.slice(0, start))}::${hex(all.slice(start + length))}`;
}

function formatDotted(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
}

function longestZeros(all: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let run = 0;
  for (const [index, group] of all.entries()) {
    run = group === 0 ? run + 1 : 0;
    if (run > best[1]) best = [index - run + 1, run];
  }
  return best;
}
