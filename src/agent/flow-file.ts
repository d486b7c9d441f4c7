import { type FileHandle, open, rename } from "node:fs/promises";
import { endOfLines } from "./flow-page.ts";

/** Where lines of the flow log end up. A write that fails leaves no half line behind. */
export interface FlowTarget {
  /** Writes whole lines, each with its newline; the bytes are borrowed until it is done. Rejects when they could not be written. */
  write(lines: Buffer): Promise<void>;
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

  async write(lines: Buffer): Promise<void> {
    const { maxSize } = this.#options;
    for (let at = 0; at < lines.length; ) {
      const handle = this.#handle ?? (await this.#open());
      const end = endOfLines(lines, at, Math.max(0, maxSize - this.#size));
      if (this.#size > 0 && this.#size + end - at > maxSize) {
        await this.#rotate();
        continue;
      }
      await this.#append(handle, lines.subarray(at, end));
      at = end;
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close().catch(() => undefined);
  }

  async #open(): Promise<FileHandle> {
    const handle = await open(this.#options.path, "a", 0o640);
    this.#handle = handle;
    this.#size = (await handle.stat()).size;
    return handle;
  }

  async #append(handle: FileHandle, lines: Buffer): Promise<void> {
    try {
      for (let at = 0; at < lines.length; ) {
        const { bytesWritten } = await handle.write(lines, at, lines.length - at);
        if (bytesWritten === 0) throw new Error("nothing could be written");
        at += bytesWritten;
      }
    } catch (error) {
      // A full disk takes a part: a half line would spoil the next one.
      await handle.truncate(this.#size).catch(() => undefined);
      throw error;
    }
    this.#size += lines.length;
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
