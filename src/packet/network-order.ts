/** Integers in network byte order. None checks bounds: the caller has, before it knows the field is there. */

/** Unsigned 16 bits. */
export function half(buf: Uint8Array, at: number): number {
  return (buf[at]! << 8) | buf[at + 1]!;
}

/** Unsigned 32 bits. */
export function word(buf: Uint8Array, at: number): number {
  return ((buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!) >>> 0;
}

export function writeHalf(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8;
  buf[at + 1] = value;
}

export function writeWord(buf: Uint8Array, at: number, value: number): void {
  writeHalf(buf, at, value >>> 16);
  writeHalf(buf, at + 2, value);
}
