import { type FileHandle, open, rename } from "node:fs/promises";

/** Where lines of the flow log end up. A write that fails leaves no half line behind. */
export interface FlowTarget {
  /** Writes whole lines, each with its newline. Rejects when they could not be written. */
  write(lines: readonly Buffer[]): Promise<void>;
  /** Closes it so that the next write opens it anew. Never rejects. */
  close(): Promise<void>;
}

export interface FlowFileOptions {
  readonly path: string;
  /** Bytes that a file may have before the next one is begun. */
  readonly maxSize: number;
  /** Files before it that are kept: `path.1` is the youngest. */
  readonly keep: number;
}

/** A file that is rotated by size. */
export class FlowFile implements FlowTarget {
  readonly #options: FlowFileOptions;
  #handle: FileHandle | null = null;
  #size = 0;

  constructor(options: FlowFileOptions) {
    this.#options = options;
  }

  async write(lines: readonly Buffer[]): Promise<void> {
    const { maxSize } = this.#options;
    let piece: Buffer[] = [];
    let bytes = 0;
    for (const line of lines) {
      if (this.#handle === null) await this.#open();
      if (this.#size + bytes > 0 && this.#size + bytes + line.length > maxSize) {
        await this.#append(piece);
        piece = [];
        bytes = 0;
        await this.#rotate();
      }
      piece.push(line);
      bytes += line.length;
    }
    await this.#append(piece);
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close().catch(() => undefined);
  }

  async #open(): Promise<void> {
    this.#handle = await open(this.#options.path, "a", 0o640);
    this.#size = (await this.#handle.stat()).size;
  }

  async #append(lines: readonly Buffer[]): Promise<void> {
    if (lines.length === 0 || this.#handle === null) return;
    const data = Buffer.concat(lines);
    try {
      await this.#handle.appendFile(data);
    } catch (error) {
      // A full disk takes a part: a half line would spoil the next one.
      await this.#handle.truncate(this.#size).catch(() => undefined);
      throw error;
    }
    this.#size += data.length;
  }

  async #rotate(): Promise<void> {
    const { path, keep } = this.#options;
    await this.close();
    for (let i = keep; i > 1; i--) await rename(`${path}.${i - 1}`, `${path}.${i}`).catch(() => undefined);
    if (keep > 0) await rename(path, `${path}.1`);
    this.#handle = await open(path, keep > 0 ? "a" : "w", 0o640);
    this.#size = 0;
  }
}
