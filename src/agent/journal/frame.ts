import { crc32 } from "node:zlib";
import { ByteReader } from "../../flow/bytes.ts";
import { decodeRecord, type JournalRecord, MAX_RECORD_BYTES } from "./record.ts";

/**
 * The file: a header, then frames of some records each.
 *
 *     header   "sallyport journal" 0 version          19 bytes
 *     frame    length u32 · CRC-32 u32 · records      big endian; the sum is over the records
 *     record   length u16 · bytes
 */
export const VERSION = 2;
export const HEADER: Uint8Array = Buffer.from([...Buffer.from("sallyport journal\0"), VERSION]);
export const FRAME_HEAD = 8;
export const RECORD_HEAD = 2;
/** No frame is longer. */
const MAX_FRAME_BYTES = 64 * 1024;
const MAX_BODY_BYTES = MAX_FRAME_BYTES - FRAME_HEAD;

/** A frame that is whole, and how many records are in it. */
export interface Frame {
  readonly bytes: Buffer;
  readonly records: number;
}

/** Collects records into a frame: one sum and one write for many. */
export class FrameBuilder {
  #bytes: Buffer | null = null;
  #length = FRAME_HEAD;
  #records = 0;

  /** Bytes of the frame so far; 0: nothing is in it. */
  get length(): number {
    return this.#records === 0 ? 0 : this.#length;
  }

  /** Whether a record of so many bytes still fits. */
  fits(length: number): boolean {
    return this.#length + RECORD_HEAD + length <= MAX_FRAME_BYTES;
  }

  add(record: Uint8Array, length: number): void {
    this.#bytes ??= Buffer.allocUnsafeSlow(MAX_FRAME_BYTES);
    this.#length = this.#bytes.writeUInt16BE(length, this.#length);
    this.#bytes.set(length === record.length ? record : record.subarray(0, length), this.#length);
    this.#length += length;
    this.#records++;
  }

  /** The frame, as a buffer of its own; the builder begins another. Null: nothing is in it. */
  take(): Frame | null {
    const bytes = this.#bytes;
    if (bytes === null || this.#records === 0) return null;
    // One that is nearly full goes as it is; a small one does not hold on to the rest of the memory.
    const full = this.#length > MAX_FRAME_BYTES / 2;
    const frame = full ? bytes.subarray(0, this.#length) : Buffer.from(bytes.subarray(0, this.#length));
    frame.writeUInt32BE(frame.length - FRAME_HEAD, 0);
    frame.writeUInt32BE(crc32(frame.subarray(FRAME_HEAD)), 4);
    const records = this.#records;
    if (full) this.#bytes = null;
    this.#length = FRAME_HEAD;
    this.#records = 0;
    return { bytes: frame, records };
  }
}

/** A frame of one record. */
export function frame(record: Uint8Array, length: number): Buffer {
  const builder = new FrameBuilder();
  builder.add(record, length);
  return builder.take()!.bytes;
}

export interface Reading {
  readonly records: number;
  /** Whole, but nothing that an agent would have written. */
  readonly refused: number;
  /** Bytes behind the last good frame: a write that was cut off, or rubbish. */
  readonly torn: number;
  /** `null`: there was nothing to read. */
  readonly version: number | null;
}

/**
 * Hands over the records of a journal up to the first frame that is not whole. Never throws, whatever the bytes are; a
 * version that is not ours yields nothing.
 */
export function readJournal(bytes: Buffer, each: (record: JournalRecord) => void): Reading {
  const nothing = { records: 0, refused: 0, torn: bytes.length };
  const magic = HEADER.length - 1;
  if (bytes.length < HEADER.length || bytes.compare(HEADER, 0, magic, 0, magic) !== 0)
    return { ...nothing, version: null };
  const version = bytes[magic]!;
  if (version !== HEADER[magic]) return { ...nothing, version };
  const { records, refused, end } = readFrames(bytes, HEADER.length, each);
  return { records, refused, torn: bytes.length - end, version };
}

/** The records of the frames from `start` up to the first that is not whole, which begins at `end`. Never throws. */
export function readFrames(
  bytes: Buffer,
  start: number,
  each: (record: JournalRecord) => void,
): { readonly records: number; readonly refused: number; readonly end: number } {
  const scratch = new Uint8Array(MAX_RECORD_BYTES);
  const reader = new ByteReader(scratch);
  let [records, refused, at] = [0, 0, start];
  while (at + FRAME_HEAD <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_HEAD + length;
    if (length === 0 || length > MAX_BODY_BYTES || end > bytes.length) break;
    const body = bytes.subarray(at + FRAME_HEAD, end);
    if (crc32(body) !== bytes.readUInt32BE(at + 4)) break;
    for (let from = 0; from < length; ) {
      const size = from + RECORD_HEAD <= length ? body.readUInt16BE(from) : 0;
      const next = from + RECORD_HEAD + size;
      if (size === 0 || size > MAX_RECORD_BYTES || next > length) {
        refused++;
        break;
      }
      scratch.set(body.subarray(from + RECORD_HEAD, next));
      reader.reset(size);
      const record = decodeRecord(reader);
      if (record === null) refused++;
      else {
        records++;
        each(record);
      }
      from = next;
    }
    at = end;
  }
  return { records, refused, end: at };
}
