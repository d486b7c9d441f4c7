import { ByteReader, ByteWriter } from "./bytes.ts";
import type { FlowEvent } from "./event.ts";
import { decodeEvent, encodeEvent, MAX_EVENT_BYTES } from "./event-codec.ts";

/** Header words. Positions count bytes and wrap at 2^32; the size of the data is a power of two, so that they stay true. */
const WRITTEN = 0;
const READ = 1;
const LOST = 2;
const HEADER_BYTES = 64;
/** A length that says: nothing more up to the end of the data, go on at its start. */
const SKIP = 0xffffffff;
const SMALLEST = 4 * MAX_EVENT_BYTES;

/** Memory for a ring with about `dataBytes` of records. */
export function createRing(dataBytes: number): SharedArrayBuffer {
  let size = SMALLEST;
  while (size < dataBytes && size < 2 ** 30) size *= 2;
  return new SharedArrayBuffer(HEADER_BYTES + size);
}

interface Memory {
  readonly header: Int32Array;
  readonly words: Uint32Array;
  readonly data: Uint8Array;
  readonly size: number;
}

function open(buffer: SharedArrayBuffer): Memory {
  let size = SMALLEST;
  while (size * 2 <= buffer.byteLength - HEADER_BYTES) size *= 2;
  if (buffer.byteLength < HEADER_BYTES + size) throw new Error("the ring is too small: make it with `createRing`");
  return {
    header: new Int32Array(buffer, 0, HEADER_BYTES / 4),
    words: new Uint32Array(buffer, HEADER_BYTES, size / 4),
    data: new Uint8Array(buffer, HEADER_BYTES, size),
    size,
  };
}

/**
 * The writing end of a ring of flow events between one thread and another. It never waits: an event that finds no room is
 * counted and gone, so that a slow reader cannot delay a verdict. A record becomes visible by one atomic store behind its
 * last byte; a writer that dies half-way leaves nothing behind, and its successor goes on where it stood.
 */
export class RingWriter {
  readonly #memory: Memory;
  readonly #scratch = new ByteWriter(MAX_EVENT_BYTES);

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = open(buffer);
  }

  /** False: no room, the event is lost and counted. Waking the reader is the caller's business. */
  write(event: FlowEvent): boolean {
    const { header, words, data, size } = this.#memory;
    const length = encodeEvent(event, this.#scratch);
    const need = 4 + ((length + 3) & ~3);
    const written = Atomics.load(header, WRITTEN) >>> 0;
    const used = (written - Atomics.load(header, READ)) >>> 0;
    let at = written & (size - 1);
    const skip = at + need > size ? size - at : 0;
    if (used + skip + need > size) {
      Atomics.add(header, LOST, 1);
      return false;
    }
    if (skip > 0) {
      words[at / 4] = SKIP;
      at = 0;
    }
    words[at / 4] = length;
    const { bytes } = this.#scratch;
    for (let i = 0; i < length; i++) data[at + 4 + i] = bytes[i]!;
    Atomics.store(header, WRITTEN, (written + skip + need) | 0);
    return true;
  }
}

/** The reading end; one at a time. */
export class RingReader {
  readonly #memory: Memory;
  readonly #scratch = new Uint8Array(MAX_EVENT_BYTES);
  readonly #reader = new ByteReader(this.#scratch);

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = open(buffer);
  }

  /** Events lost since the ring was made; wraps at 2^32. */
  lost(): number {
    return Atomics.load(this.#memory.header, LOST) >>> 0;
  }

  /** The next event, or null when there is none now. A record that cannot be read is counted as lost. */
  read(): FlowEvent | null {
    for (;;) {
      const length = this.#take();
      if (length < 0) return null;
      this.#reader.reset(length);
      const event = decodeEvent(this.#reader);
      if (event !== null) return event;
      Atomics.add(this.#memory.header, LOST, 1);
    }
  }

  /** Copies the next record to the scratch bytes and frees its room; -1: there is none. */
  #take(): number {
    const { header, words, data, size } = this.#memory;
    const written = Atomics.load(header, WRITTEN) >>> 0;
    let read = Atomics.load(header, READ) >>> 0;
    if (read === written) return -1;
    let at = read & (size - 1);
    if (words[at / 4] === SKIP) {
      read += size - at;
      at = 0;
    }
    const length = words[at / 4]!;
    const need = 4 + ((length + 3) & ~3);
    if (length > MAX_EVENT_BYTES || need > (written - read) >>> 0) {
      // Not written by a RingWriter. Everything up to here is given up, for there is no telling where a record starts.
      Atomics.store(header, READ, written | 0);
      Atomics.add(header, LOST, 1);
      return -1;
    }
    this.#scratch.set(data.subarray(at + 4, at + 4 + length));
    Atomics.store(header, READ, (read + need) | 0);
    return length;
  }
}
