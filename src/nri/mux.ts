/**
 * NRI carries two ttrpc connections over one socket (containerd/nri, pkg/net/multiplex): each piece has the number of its connection and its
 * length before it, both 32 bits, the most significant first.
 */
export const CONNECTION = {
  /** The runtime asks, the plug-in answers. */
  plugin: 1,
  /** The plug-in asks, the runtime answers. */
  runtime: 2,
} as const;

const HEADER = 8;
/** One whole ttrpc message. */
const MOST = 10 + (4 << 20);
/** The runtime reads through a buffer of this size, and gives up on a piece that does not fit. */
export const MOST_WRITTEN = 4096;

/** Takes the pieces out of a stream and hands their bytes on as they come; it keeps eight bytes at most. */
export class MuxReader {
  readonly #onBytes: (connection: number, bytes: Uint8Array) => void;
  readonly #header = new Uint8Array(HEADER);
  #headerLength = 0;
  #connection = 0;
  /** Bytes of the piece that are to come. */
  #left = 0;

  constructor(onBytes: (connection: number, bytes: Uint8Array) => void) {
    this.#onBytes = onBytes;
  }

  /** @returns what is wrong with the stream, one line; null: nothing */
  read(chunk: Uint8Array): string | null {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        this.#header[this.#headerLength++] = chunk[at++]!;
        if (this.#headerLength < HEADER) continue;
        this.#headerLength = 0;
        const view = new DataView(this.#header.buffer);
        this.#connection = view.getUint32(0);
        this.#left = view.getUint32(4);
        if (this.#left > MOST) return `a piece of ${this.#left} bytes is larger than NRI sends`;
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      at += bytes.length;
      this.#left -= bytes.length;
      this.#onBytes(this.#connection, bytes);
    }
    return null;
  }
}

/** One piece. `bytes`: at most MOST_WRITTEN. */
export function muxPiece(connection: number, bytes: Uint8Array): Uint8Array {
  const piece = new Uint8Array(HEADER + bytes.length);
  const view = new DataView(piece.buffer);
  view.setUint32(0, connection);
  view.setUint32(4, bytes.length);
  piece.set(bytes, HEADER);
  return piece;
}
