import { dnsFrameSize } from "./dns-answer.ts";

/** One whole message of a DNS stream. The bytes are borrowed: they hold until the reader is given more. */
export interface DnsFrame {
  readonly message: Uint8Array;
  /** Where the message (not its length field) starts, counted in bytes of the stream. */
  readonly offset: number;
}

const MIN_MESSAGE = 12;
const FIRST_SIZE = 1024;

/**
 * Cuts one direction of a DNS-over-TCP connection (RFC 7766 §8) into messages, wherever the segments are split.
 * Holds what is not yet returned, at most one message of 64 KiB and the bytes of the last `push`.
 */
export class DnsStreamReader {
  #bytes = new Uint8Array(FIRST_SIZE);
  #start = 0;
  #end = 0;
  #offset = 0;
  #malformed = false;

  /** A frame too short to be a message was seen: nothing more is read from this stream. */
  get malformed(): boolean {
    return this.#malformed;
  }

  /** Bytes held of a message that is not complete. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** Bytes of the stream that were returned as messages, length fields included. */
  get consumed(): number {
    return this.#offset;
  }

  /** Copies `buf[start, end)` behind what is held. Take all messages with `next` before the following push. */
  push(buf: Uint8Array, start: number, end: number): void {
    if (this.#malformed || end <= start) return;
    this.#makeRoom(end - start);
    this.#bytes.set(buf.subarray(start, end), this.#end);
    this.#end += end - start;
  }

  next(): DnsFrame | null {
    const size = this.#malformed ? 0 : dnsFrameSize(this.#bytes, this.#start, this.#end);
    if (size === 0) return null;
    if (size < 2 + MIN_MESSAGE) {
      this.#malformed = true;
      this.#start = this.#end = 0;
      return null;
    }
    if (this.#end - this.#start < size) return null;
    const frame = {
      message: this.#bytes.subarray(this.#start + 2, this.#start + size),
      offset: this.#offset + 2,
    };
    this.#start += size;
    this.#offset += size;
    return frame;
  }

  #makeRoom(count: number): void {
    const held = this.#end - this.#start;
    if (this.#end + count <= this.#bytes.length) return;
    if (held + count <= this.#bytes.length) this.#bytes.copyWithin(0, this.#start, this.#end);
    else {
      const grown = new Uint8Array(Math.max(held + count, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = grown;
    }
    this.#start = 0;
    this.#end = held;
  }
}
