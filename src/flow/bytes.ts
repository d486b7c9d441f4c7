const NULL_TEXT = 0xffff;
const REPLACEMENT = 0xfffd;

/** Writes into a fixed buffer; callers see to it that fixed-size values fit, texts are cut. Allocates nothing per value. */
export class ByteWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.#at;
  }

  /** Takes back what was written behind `length`. */
  back(length: number): void {
    this.#at = length;
  }

  byte(value: number): void {
    this.bytes[this.#at++] = value;
  }

  half(value: number): void {
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
  }

  word(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  float(value: number): void {
    this.#view.setFloat64(this.#at, value);
    this.#at += 8;
  }

  /** Writes the text whole or not at all. False: it does not fit into `most` bytes, or `keep` bytes would not be left. */
  whole(text: string, most: number, keep: number): boolean {
    const before = this.#at;
    if (before + 2 + keep > this.bytes.length) return false;
    if (this.text(text, most, keep)) return true;
    this.#at = before;
    return false;
  }

  /** At most `most` bytes of UTF-8, cut at a character, `keep` bytes left free behind it. True: it was stored whole. */
  text(text: string | null, most: number, keep: number): boolean {
    if (text === null) {
      this.half(NULL_TEXT);
      return true;
    }
    const head = this.#at;
    this.#at += 2;
    const end = Math.min(this.#at + most, this.bytes.length - keep);
    let index = 0;
    for (; index < text.length; index++) {
      const c = text.charCodeAt(index);
      if (c >= 0x80) {
        const point = text.codePointAt(index)!;
        if (!this.#wide(point, end)) break;
        if (point > 0xffff) index++;
      } else if (this.#at < end) this.bytes[this.#at++] = c;
      else break;
    }
    this.#view.setUint16(head, this.#at - head - 2);
    return index >= text.length;
  }

  #wide(point: number, end: number): boolean {
    // Half a surrogate pair has no UTF-8 form.
    const value = point >= 0xd800 && point <= 0xdfff ? REPLACEMENT : point;
    const size = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    if (this.#at + size > end) return false;
    if (size === 2) this.byte(0xc0 | (value >>> 6));
    else if (size === 3) this.byte(0xe0 | (value >>> 12));
    else this.byte(0xf0 | (value >>> 18));
    for (let shift = (size - 2) * 6; shift >= 0; shift -= 6) this.byte(0x80 | ((value >>> shift) & 0x3f));
    return true;
  }
}

/** Reads `bytes[0, length)`. Never throws: behind the end everything is 0 or null, and `overrun` is true. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #length = 0;
  #at = 0;
  overrun = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Starts anew at the first byte. */
  reset(length: number): void {
    this.#length = Math.min(length, this.#bytes.length);
    this.#at = 0;
    this.overrun = false;
  }

  byte(): number {
    return this.#take(1) ? this.#bytes[this.#at - 1]! : 0;
  }

  half(): number {
    return this.#take(2) ? this.#view.getUint16(this.#at - 2) : 0;
  }

  word(): number {
    return this.#take(4) ? this.#view.getUint32(this.#at - 4) : 0;
  }

  float(): number {
    return this.#take(8) ? this.#view.getFloat64(this.#at - 8) : 0;
  }

  text(): string | null {
    const size = this.half();
    if (this.overrun || size === NULL_TEXT || !this.#take(size)) return null;
    return this.#decoder.decode(this.#bytes.subarray(this.#at - size, this.#at));
  }

  #take(size: number): boolean {
    if (this.#at + size > this.#length) {
      this.overrun = true;
      return false;
    }
    this.#at += size;
    return true;
  }
}
