import type { Decision } from "../model/decision.ts";
import { ByteReader, ByteWriter, type Page, pageOf } from "./bytes.ts";
import type { FlowEvent } from "./event.ts";
import { AT, encodeEvent, MAX_EVENT_BYTES, NO_OUTCOME, readDecision, writeDecision } from "./event-codec.ts";
import { MOST_OUTCOMES, Outcome, OutcomeNumbers } from "./outcome.ts";
import { PackedEvent } from "./packed-event.ts";

/** Header words. Positions count bytes and wrap at 2^32; the size of the data is a power of two, so that they stay true. */
const WRITTEN = 0;
const READ = 1;
const LOST = 2;
/** Counts up when the reader no longer knows what the numbers of decisions mean. */
const FORGOTTEN = 3;
const HEADER_BYTES = 64;
/** A length that says: nothing more up to the end of the data, go on at its start. */
const SKIP = 0xffffffff;
const SMALLEST = 4 * MAX_EVENT_BYTES;
const LENGTH_BYTES = 4;
/** In the place of an event's kind: a decision, and the number that stands for it from here on. */
const OUTCOME = 0xff;
const OUTCOME_HEAD = 4;
/**
 * Whenever the reader has caught up behind this, the writer begins at the start again. So a ring that is large for the
 * sake of rare storms takes little memory as long as there are none.
 */
const HOME_BYTES = 1024 * 1024;

/** Memory for a ring with about `dataBytes` of records. */
export function createRing(dataBytes: number): SharedArrayBuffer {
  let size = SMALLEST;
  while (size < dataBytes && size < 2 ** 30) size *= 2;
  return new SharedArrayBuffer(HEADER_BYTES + size);
}

interface Memory {
  readonly header: Int32Array;
  readonly words: Uint32Array;
  readonly data: Page;
  readonly size: number;
}

function open(buffer: SharedArrayBuffer): Memory {
  let size = SMALLEST;
  while (size * 2 <= buffer.byteLength - HEADER_BYTES) size *= 2;
  if (buffer.byteLength < HEADER_BYTES + size) throw new Error("the ring is too small: make it with `createRing`");
  return {
    header: new Int32Array(buffer, 0, HEADER_BYTES / 4),
    words: new Uint32Array(buffer, HEADER_BYTES, size / 4),
    data: pageOf(new Uint8Array(buffer, HEADER_BYTES, size)),
    size,
  };
}

/** What is skipped is not in use: a writer that begins at the start again leaves nearly the whole ring behind. */
function fillOf({ header, words, size }: Memory): number {
  const read = Atomics.load(header, READ) >>> 0;
  const used = (Atomics.load(header, WRITTEN) - read) >>> 0;
  const at = read & (size - 1);
  const skipped = used > 0 && words[at / 4] === SKIP ? size - at : 0;
  // The reader may have passed it between the two looks.
  return Math.max(0, used - skipped) / size;
}

/**
 * The writing end of a ring of flow events between one thread and another. It never waits: an event that finds no room is
 * counted and gone, so that a slow reader cannot delay a verdict. A record becomes visible by one atomic store behind its
 * last byte; a writer that dies half-way leaves nothing behind, and its successor goes on where it stood.
 */
export class RingWriter {
  readonly #memory: Memory;
  readonly #writer: ByteWriter;
  readonly #outcomes = new OutcomeNumbers();
  #skipped = 0;
  #forgotten = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = open(buffer);
    this.#writer = new ByteWriter(this.#memory.data);
  }

  /** False: no room, the event is lost and counted. Waking the reader is the caller's business. */
  write(event: FlowEvent): boolean {
    const forgotten = Atomics.load(this.#memory.header, FORGOTTEN);
    this.#outcomes.prepare(forgotten !== this.#forgotten);
    this.#forgotten = forgotten;
    const outcome = this.#numberOf(event.decision);
    const audit = event.audit === null ? NO_OUTCOME : this.#numberOf(event.audit);
    const at = outcome < 0 || audit < 0 ? -1 : this.#room();
    if (at < 0) {
      Atomics.add(this.#memory.header, LOST, 1);
      return false;
    }
    this.#writer.aim(at, at + MAX_EVENT_BYTES);
    this.#publish(at, encodeEvent(event, outcome, audit, this.#writer));
    return true;
  }

  /** How full the ring is, 0 to 1. */
  get fill(): number {
    return fillOf(this.#memory);
  }

  /** Tells the reader of a decision before it is first used. -1: no room for that. */
  #numberOf(decision: Decision): number {
    const known = this.#outcomes.of(decision);
    if (known >= 0) return known;
    const at = this.#room();
    if (at < 0) return -1;
    const number = this.#outcomes.next;
    const writer = this.#writer;
    writer.aim(at, at + MAX_EVENT_BYTES);
    writer.byte(OUTCOME);
    writer.byte(0);
    writer.half(number);
    writeDecision(writer, decision);
    this.#publish(at, writer.length - at);
    this.#outcomes.told(decision);
    return number;
  }

  /** Where the longest event would fit in one piece; -1: nowhere. */
  #room(): number {
    const { header, words, size } = this.#memory;
    const need = LENGTH_BYTES + MAX_EVENT_BYTES;
    const written = Atomics.load(header, WRITTEN) >>> 0;
    const used = (written - Atomics.load(header, READ)) >>> 0;
    const at = written & (size - 1);
    const skip = at + need > size || (used === 0 && at >= HOME_BYTES) ? size - at : 0;
    if (used + skip + need > size) return -1;
    this.#skipped = skip;
    if (skip === 0) return at + LENGTH_BYTES;
    words[at / 4] = SKIP;
    return LENGTH_BYTES;
  }

  #publish(at: number, length: number): void {
    const { header, words } = this.#memory;
    words[(at - LENGTH_BYTES) / 4] = length;
    const written = Atomics.load(header, WRITTEN);
    Atomics.store(header, WRITTEN, (written + this.#skipped + LENGTH_BYTES + ((length + 3) & ~3)) | 0);
  }
}

/** The reading end; one at a time. */
export class RingReader {
  readonly #memory: Memory;
  readonly #event = new PackedEvent();
  readonly #reader: ByteReader;
  readonly #outcomes: (Outcome | undefined)[] = new Array(MOST_OUTCOMES);
  #at = 0;
  /** What the event that was handed over last takes; its room is free when the next one is asked for. */
  #held = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#memory = open(buffer);
    this.#reader = new ByteReader(this.#memory.data.bytes);
  }

  /** Events lost since the ring was made; wraps at 2^32. */
  lost(): number {
    return Atomics.load(this.#memory.header, LOST) >>> 0;
  }

  /** How full the ring is, 0 to 1. */
  get fill(): number {
    return fillOf(this.#memory);
  }

  /** The next event, borrowed until the next call, or null when there is none now. A record that cannot be read is counted as lost. */
  read(): PackedEvent | null {
    for (;;) {
      const length = this.#take();
      if (length < 0) return null;
      const { bytes } = this.#memory.data;
      if (bytes[this.#at] === OUTCOME && length > OUTCOME_HEAD) {
        if (!this.#learn(length)) this.#giveUp();
      } else if (this.#open(length)) return this.#event;
      else this.#giveUp();
    }
  }

  #open(length: number): boolean {
    if (length < AT.texts) return false;
    const { data } = this.#memory;
    const audit = data.view.getUint16(this.#at + AT.audit);
    const outcome = this.#outcomes[data.view.getUint16(this.#at + AT.outcome)];
    return this.#event.open(data, this.#at, length, outcome, audit === NO_OUTCOME ? null : this.#outcomes[audit]);
  }

  /** What is lost may be the meaning of a number: the writer tells of all of them again. */
  #giveUp(): void {
    Atomics.add(this.#memory.header, LOST, 1);
    Atomics.add(this.#memory.header, FORGOTTEN, 1);
  }

  #learn(length: number): boolean {
    const { data } = this.#memory;
    const number = data.view.getUint16(this.#at + 2);
    this.#reader.open(data, this.#at + OUTCOME_HEAD, this.#at + length);
    const decision = readDecision(this.#reader);
    if (decision === undefined || number >= MOST_OUTCOMES) return false;
    this.#outcomes[number] = new Outcome(decision);
    return true;
  }

  /** Frees the room of the record before and finds the next one; -1: there is none. */
  #take(): number {
    const { header, words, size } = this.#memory;
    let read = (Atomics.load(header, READ) + this.#held) >>> 0;
    if (this.#held > 0) Atomics.store(header, READ, read | 0);
    this.#held = 0;
    const written = Atomics.load(header, WRITTEN) >>> 0;
    if (read === written) return -1;
    let at = read & (size - 1);
    let skip = 0;
    if (words[at / 4] === SKIP) {
      skip = size - at;
      read = (read + skip) >>> 0;
      at = 0;
    }
    const length = words[at / 4]!;
    const need = LENGTH_BYTES + ((length + 3) & ~3);
    if (length > MAX_EVENT_BYTES || need > (written - read) >>> 0) {
      // Not written by a RingWriter. Everything up to here is given up, for there is no telling where a record starts.
      Atomics.store(header, READ, written | 0);
      this.#giveUp();
      return -1;
    }
    this.#at = at + LENGTH_BYTES;
    this.#held = skip + need;
    return length;
  }
}
