/** Wire types of protocol buffers (protobuf.dev, "Encoding"). Groups, which proto3 does not have, are malformed. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Called with each field in its order: a number of a varint (exact below 2^53), a view of what has a length. */
export type VisitField = (field: number, value: number | Uint8Array) => void;

/** Reads one message; fields of fixed width are skipped. @returns whether all of it could be read */
export function readFields(bytes: Uint8Array, visit: VisitField): boolean {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (let length = 1; length <= 10 && at < bytes.length; length++) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    return -1;
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    if (key < 0 || field < 1 || field > 0x1fff_ffff) return false;
    const type = key % 8;
    if (type === VARINT) {
      const value = varint();
      if (value < 0) return false;
      visit(field, value);
    } else if (type === BYTES) {
      const length = varint();
      if (length < 0 || length > bytes.length - at) return false;
      visit(field, bytes.subarray(at, at + length));
      at += length;
    } else if (type === FIXED64 || type === FIXED32) {
      at += type === FIXED64 ? 8 : 4;
      if (at > bytes.length) return false;
    } else return false;
  }
  return true;
}

const DECODER = new TextDecoder("utf-8", { fatal: true });

/** @returns the text; null: it is not UTF-8, or longer than `most` bytes, or no text at all */
export function textOf(value: number | Uint8Array, most: number): string | null {
  if (typeof value === "number" || value.length > most) return null;
  try {
    return DECODER.decode(value);
  } catch {
    return null;
  }
}

/** Writes one message. As proto3 has it, what is empty or 0 is left out. */
export class WireWriter {
  readonly #bytes: number[] = [];

  number(field: number, value: number): this {
    if (value === 0) return this;
    this.#varint(field * 8 + VARINT);
    this.#varint(value);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length === 0) return this;
    this.#varint(field * 8 + BYTES);
    this.#varint(value.length);
    for (const byte of value) this.#bytes.push(byte);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  end(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  /** `value` from 0, below 2^53. */
  #varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#bytes.push((rest % 128) | 0x80);
    this.#bytes.push(rest);
  }
}
