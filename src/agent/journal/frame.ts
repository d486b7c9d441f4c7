import { crc32 } from "node:zlib";
import { ByteReader } from "../../flow/bytes.ts";
import { decodeRecord, type JournalRecord, MAX_RECORD_BYTES } from "./record.ts";

/**
 * The file: a header, then frames.
 *
 *     header   "sallyport journal" 0 version          19 bytes
 *     frame    length u32 · CRC-32 u32 · record       big endian; the sum is over the record
 */
export const VERSION = 2;
export const HEADER: Uint8Array = Buffer.from([...Buffer.from("sallyport journal\0"), VERSION]);
export const FRAME_HEAD = 8;

/** One frame, as a buffer of its own. */
export function frame(record: Uint8Array, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEAD + length);
  bytes.set(length === record.length ? record : record.subarray(0, length), FRAME_HEAD);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(crc32(bytes.subarray(FRAME_HEAD)), 4);
  return bytes;
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
    if (length === 0 || length > MAX_RECORD_BYTES || end > bytes.length) break;
    const body = bytes.subarray(at + FRAME_HEAD, end);
    if (crc32(body) !== bytes.readUInt32BE(at + 4)) break;
    scratch.set(body);
    reader.reset(length);
    const record = decodeRecord(reader);
    if (record === null) refused++;
    else {
      records++;
      each(record);
    }
    at = end;
  }
  return { records, refused, end: at };
}
