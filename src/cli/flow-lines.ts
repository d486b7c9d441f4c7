import { createReadStream } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";

/** A record is a few hundred bytes; a line beyond this is no record, and is not collected. */
const LONGEST_LINE = 1 << 20;
const CHUNK = 1 << 16;
const LOOK_EVERY_MS = 200;

/** Cuts chunks into lines. A line that is too long comes out as an empty one, so that it is counted as broken. */
export class LineCutter {
  private readonly decoder = new StringDecoder("utf8");
  private rest = "";
  private skipping = false;

  *push(chunk: Buffer): Generator<string> {
    const parts = this.decoder.write(chunk).split("\n");
    for (const [i, part] of parts.entries()) {
      if (!this.skipping) this.rest += part;
      if (this.rest.length > LONGEST_LINE) {
        this.skipping = true;
        this.rest = "";
      }
      if (i < parts.length - 1) yield* this.finish(true);
    }
  }

  /** The line that the end of the file cut off, if there is one. */
  *end(): Generator<string> {
    yield* this.finish(false);
  }

  private *finish(evenEmpty: boolean): Generator<string> {
    const line = this.rest;
    const broken = this.skipping;
    this.rest = "";
    this.skipping = false;
    if (broken || line !== "" || evenEmpty) yield line;
  }
}

/** The lines of a file, or of stdin for `-`, to its end. */
export async function* readLines(path: string): AsyncGenerator<string> {
  const stream = path === "-" ? process.stdin : createReadStream(path);
  const cutter = new LineCutter();
  for await (const chunk of stream) yield* cutter.push(chunk as Buffer);
  yield* cutter.end();
}

/** The lines of a file and those that are still written to it, until `signal`; goes on in the new file after a rotation. */
export async function* followLines(path: string, signal: AbortSignal): AsyncGenerator<string> {
  let handle = await open(path, "r");
  try {
    for (;;) {
      const cutter = new LineCutter();
      const next = yield* followOne(handle, path, cutter, signal);
      if (next === null) return;
      if (next !== handle) await handle.close();
      handle = next;
    }
  } finally {
    await handle.close();
  }
}

/** Reads one file until another stands in its place (returned), or it was cut short (returned itself), or `signal` (null). */
async function* followOne(
  handle: FileHandle,
  path: string,
  cutter: LineCutter,
  signal: AbortSignal,
): AsyncGenerator<string, FileHandle | null> {
  const buffer = Buffer.alloc(CHUNK);
  const { ino, dev } = await handle.stat();
  let position = 0;
  for (let replaced = false; !signal.aborted; ) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK, position);
    if (bytesRead > 0) {
      position += bytesRead;
      yield* cutter.push(buffer.subarray(0, bytesRead));
      continue;
    }
    if (replaced) {
      yield* cutter.end();
      return await open(path, "r");
    }
    const now = await stat(path).catch(() => null);
    // The old file is read once more to its end: lines may have come between the last read and the rotation.
    if (now !== null && (now.ino !== ino || now.dev !== dev)) replaced = true;
    else if (now !== null && now.size < position) return handle;
    else await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
  }
  return null;
}
