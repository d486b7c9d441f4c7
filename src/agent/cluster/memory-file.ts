import type { KubeObject } from "../../kube/object.ts";
import type { PackedTexts, TextPacker } from "../../policy/packed-texts.ts";
import { lineOf, objectOf, textOf } from "./object-line.ts";
import { PackedObject } from "./packed-objects.ts";

/**
 * What an agent remembers of one resource, as a file: a line of JSON that says whose it is and how many objects there are, then parts. Each part
 * is a line of JSON (how many bytes, which of its texts count) and so many bytes: lines of objects as they are packed in memory, so that
 * writing them costs no reading. Format 1 is the same first line, then a line for each object.
 */
const FORMAT = 2;
const LINES_ONLY = 1;
const NEWLINE = 0x0a;
/** Objects that are not packed are, so many characters together. */
const TOGETHER = 128 * 1024;

export interface FileHead {
  readonly node: string;
  /** Milliseconds of Unix time. */
  readonly savedAt: number;
}

interface Part {
  readonly bytes: Uint8Array;
  /** Positions among its texts. */
  readonly live: readonly number[];
}

/** Bytes to be written one after the other. */
export function* encodeMemory(
  head: FileHead,
  objects: readonly KubeObject[],
  packer: TextPacker,
): Generator<Uint8Array> {
  yield textLine({ format: FORMAT, ...head, count: objects.length });
  for (const { bytes, live } of partsOf(objects, packer)) {
    yield textLine({ bytes: bytes.length, live });
    yield bytes;
  }
}

function* partsOf(objects: readonly KubeObject[], packer: TextPacker): Generator<Part> {
  const packed = new Map<PackedTexts, number[]>();
  let lines: string[] = [];
  let size = 0;
  const together = (): Part => ({ bytes: packer.pack(lines.join("\n")), live: [...lines.keys()] });
  for (const object of objects) {
    if (object instanceof PackedObject) {
      const { texts, index } = object.place;
      const live = packed.get(texts);
      if (live === undefined) packed.set(texts, [index]);
      else live.push(index);
      continue;
    }
    const line = lineOf(object, textOf(object.value));
    size += line.length;
    lines.push(line);
    if (size < TOGETHER) continue;
    yield together();
    lines = [];
    size = 0;
  }
  if (lines.length > 0) yield together();
  for (const [texts, live] of packed) yield { bytes: texts.packed, live };
}

/** Null where it is not whole, or of another format. @throws Error where a part of it cannot be read */
export function decodeMemory(
  file: Buffer,
  packer: TextPacker,
  take: (object: KubeObject) => void,
): (FileHead & { readonly count: number }) | null {
  const reader = new Reader(file);
  const head = reader.line();
  const { format, node, savedAt, count } = head;
  if (typeof node !== "string" || typeof savedAt !== "number" || typeof count !== "number") return null;
  let found = 0;
  while (!reader.atEnd) {
    if (format === LINES_ONLY) {
      take(reader.line() as unknown as KubeObject);
      found++;
      continue;
    }
    if (format !== FORMAT) return null;
    const { bytes, live } = reader.line() as unknown as { readonly bytes: number; readonly live: readonly number[] };
    const texts = packer.unpack(reader.bytes(bytes)).split("\n");
    for (const index of live) take(objectOf(texts[index]!));
    found += live.length;
  }
  return found === count && (format === FORMAT || format === LINES_ONLY) ? { node, savedAt, count } : null;
}

class Reader {
  readonly #file: Buffer;
  #at = 0;

  constructor(file: Buffer) {
    this.#file = file;
  }

  get atEnd(): boolean {
    return this.#at === this.#file.length;
  }

  /** @throws Error */
  line(): Readonly<Record<string, unknown>> {
    const end = this.#file.indexOf(NEWLINE, this.#at);
    if (end < 0) throw new Error("broken off");
    const text = this.#file.toString("utf8", this.#at, end);
    this.#at = end + 1;
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  }

  /** @throws Error */
  bytes(length: number): Uint8Array {
    const bytes = this.#file.subarray(this.#at, this.#at + length);
    if (bytes.length !== length) throw new Error("broken off");
    this.#at += length;
    return bytes;
  }
}

function textLine(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}
