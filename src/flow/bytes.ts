/** A length that says: no text. */
export const NULL_TEXT = 0xffff;
const REPLACEMENT = 0xfffd;
const SHORT = 64;

/** Memory as both are used of it: single bytes and larger numbers. */
export interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export function pageOf(bytes: Uint8Array): Page {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/** Writes into a fixed buffer; callers see to it that fixed-size values fit, texts are cut. Allocates nothing per value. */
export class ByteWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #end: number;

  /** `memory`: a size, or what is written to. */
  constructor(memory: number | Page) {
    const { bytes, view } = typeof memory === "number" ? pageOf(new Uint8Array(memory)) : memory;
    this.bytes = bytes;
    this.#view = view;
    this.#end = bytes.length;
  }

  /** Where the next value goes. */
  get length(): number {
    return this.#at;
  }

  /** Takes back what was written behind `length`. */
  back(length: number): void {
    this.#at = length;
  }

  /** Writes from `start` on, and nothing behind `end`. */
  aim(start: number, end: number): void {
    this.#at = start;
    this.#end = end;
  }

  /** Leaves `count` bytes as they are, for `setByte` and `setHalf`. */
  skip(count: number): void {
    this.#at += count;
  }

  /** Bytes from elsewhere, as they are. */
  copy(page: Page, at: number, length: number): void {
    this.bytes.set(page.bytes.subarray(at, at + length), this.#at);
    this.#at += length;
  }

  setByte(at: number, value: number): void {
    this.bytes[at] = value;
  }

  setHalf(at: number, value: number): void {
    this.#view.setUint16(at, value);
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
    if (before + 2 + keep > this.#end) return false;
    if (this.text(text, most, keep)) return true;
    this.#at = before;
    return false;
  }

  /** At most `most` bytes of UTF-8, cut at a character, `keep` bytes left free behind it. True: it was stored whole. */
  text(text: string | null, most: number, keep: number): boolean {
    const head = this.#at;
    this.#at += 2;
    const length = this.bare(text, most, keep);
    this.#view.setUint16(head, length >= 0 ? length : ~length);
    return length >= 0;
  }

  /** The same without a length before it: returned is the length (NULL_TEXT: no text), or its complement where the text was cut. */
  bare(text: string | null, most: number, keep: number): number {
    if (text === null) return NULL_TEXT;
    const { bytes } = this;
    const start = this.#at;
    const end = Math.min(start + most, this.#end - keep);
    let at = start;
    let index = 0;
    for (; index < text.length && at < end; index++) {
      const c = text.charCodeAt(index);
      if (c < 0x80) {
        bytes[at++] = c;
        continue;
      }
      const point = text.codePointAt(index)!;
      this.#at = at;
      if (!this.#wide(point, end)) break;
      at = this.#at;
      if (point > 0xffff) index++;
    }
    this.#at = at;
    const length = at - start;
    return index >= text.length ? length : ~length;
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

/** Reads a part of its memory. Never throws: behind the end everything is 0 or null, and `overrun` is true. */
export class ByteReader {
  page: Page;
  #bytes: Uint8Array;
  #view: DataView;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #end = 0;
  #at = 0;
  overrun = false;

  constructor(bytes: Uint8Array) {
    this.page = pageOf(bytes);
    this.#bytes = bytes;
    this.#view = this.page.view;
  }

  /** Starts anew at the first byte. */
  reset(length: number): void {
    this.#aim(0, length);
  }

  /** Reads `page.bytes[start, end)` from now on. */
  open(page: Page, start: number, end: number): void {
    this.page = page;
    this.#bytes = page.bytes;
    this.#view = page.view;
    this.#aim(start, end);
  }

  #aim(start: number, end: number): void {
    this.#end = Math.min(end, this.#bytes.length);
    this.#at = start;
    this.overrun = false;
  }

  /** Where the next value is read. */
  get position(): number {
    return this.#at;
  }

  /** Nothing is read from there on. */
  get end(): number {
    return this.#end;
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
    return this.#decode(this.#at - size, this.#at);
  }

  /** A text of so many bytes; NULL_TEXT: null. */
  bare(size: number): string | null {
    if (size === NULL_TEXT || !this.#take(size)) return null;
    return this.#decode(this.#at - size, this.#at);
  }

  /** The decoder costs more than a short ASCII text does. */
  #decode(start: number, end: number): string {
    const bytes = this.#bytes;
    if (end - start > SHORT) return this.#decoder.decode(bytes.slice(start, end));
    let text = "";
    for (let at = start; at < end; at++) {
      const c = bytes[at]!;
      if (c >= 0x80) return this.#decoder.decode(bytes.slice(start, end));
      text += String.fromCharCode(c);
    }
    return text;
  }

  #take(size: number): boolean {
    if (this.#at + size > this.#end) {
      this.overrun = true;
      return false;
    }
    this.#at += size;
    return true;
  }
}
