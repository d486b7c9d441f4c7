import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { TextPacker } from "./text-packer.ts";

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Why the file is no text; `text` is empty then. */
  readonly problem?: { readonly line: number; readonly column: number; readonly message: string };
}

const DOCUMENT = /\.(ya?ml|json)$/i;
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_FILES = 10_000;
const MAX_DEPTH = 16;

/**
 * Reads files, and of folders every `*.yaml`, `*.yml` and `*.json` at any depth, in order of name. Hidden entries are left out:
 * a mounted ConfigMap keeps its old and new version in hidden folders behind links.
 * @throws Error a line for each path that cannot be read or holds nothing
 */
export function readDocumentFiles(paths: readonly string[]): SourceFile[] {
  return new DocumentFiles().read(paths);
}

interface KnownFile {
  readonly file: HeldFile;
  readonly stamp: string;
  /** It was read when its stamp had been the same for a while. */
  readonly settled: boolean;
  /** When the stamp was seen first, in milliseconds of this process. */
  readonly since: number;
}

/** A file whose text can be put away: compressed it takes a tenth, and is asked for only when the file has changed. */
class HeldFile implements SourceFile {
  readonly path: string;
  readonly problem?: NonNullable<SourceFile["problem"]>;
  #text: string | Uint8Array;
  readonly #packer: TextPacker | null;

  constructor({ path, text, problem }: SourceFile, packer: TextPacker | null) {
    this.path = path;
    if (problem !== undefined) this.problem = problem;
    this.#text = text;
    this.#packer = packer;
  }

  get text(): string {
    return typeof this.#text === "string" ? this.#text : this.#packer!.unpack(this.#text);
  }

  putAway(): void {
    if (this.#packer !== null && typeof this.#text === "string") this.#text = this.#packer.pack(this.#text);
  }

  equals({ text, problem }: SourceFile): boolean {
    return isDeepStrictEqual(this.problem, problem) && this.text === text;
  }
}

/** Two writes in one tick of a file system's clock leave the same times: only a later reading is sure to have seen both. */
const UNSETTLED_MS = 100;

/** Reads the same files again and again; one that has not changed is not opened. */
export class DocumentFiles {
  readonly #packer: TextPacker | null;
  #known = new Map<string, KnownFile>();

  /** Null: texts stay as they are. Commands that read once start sooner without a compressor. */
  constructor(packer: TextPacker | null = null) {
    this.#packer = packer;
  }

  /** Lets texts take little memory that will not be read again; for whoever asks they are as before. */
  putAway(): void {
    for (const { file, settled } of this.#known.values()) if (settled) file.putAway();
  }

  /** As `readDocumentFiles`. A file with the content it had when it was read last is the same object. */
  read(paths: readonly string[]): SourceFile[] {
    const problems: string[] = [];
    const found = new Map<string, KnownFile>();
    for (const path of paths) {
      try {
        const files = statSync(path).isDirectory() ? listFolder(path, 0) : [path];
        if (files.length === 0) problems.push(`\`${path}\` holds no *.yaml, *.yml or *.json: name another folder`);
        for (const file of files) {
          if (!found.has(file)) found.set(file, readAgain(file, this.#known.get(file), this.#packer));
        }
      } catch (error) {
        problems.push(whyUnreadable(path, error));
      }
    }
    if (problems.length > 0) throw new Error(problems.join("\n"));
    this.#known = found;
    return [...found.values()].map(({ file }) => file);
  }
}

/** @throws what node:fs throws */
function readAgain(path: string, known: KnownFile | undefined, packer: TextPacker | null): KnownFile {
  // Before the file is read: what is written in between has another stamp the next time.
  const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
  const stamp = `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
  const unchanged = known?.stamp === stamp;
  if (unchanged && known.settled) return known;
  const now = performance.now();
  const since = unchanged ? known.since : now;
  const read = readDocumentFile(path);
  const file = known?.file.equals(read) ? known.file : new HeldFile(read, packer);
  return { file, stamp, since, settled: now - since >= UNSETTLED_MS };
}

/** One file that is no text leaves the problems of the others to be told. @throws what node:fs throws */
function readDocumentFile(path: string): SourceFile {
  const read = decodeFile(path, MAX_FILE_BYTES);
  return typeof read === "string"
    ? { path, text: read }
    : { path, text: "", problem: { ...read, message: `the file ${read.message}` } };
}

/** The text of a file. @throws Error one line for the user, or what node:fs throws */
export function readTextFile(path: string, maxBytes = MAX_FILE_BYTES): string {
  const read = decodeFile(path, maxBytes);
  if (typeof read === "string") return read;
  throw new Error(`\`${path}\` ${read.message}`);
}

function decodeFile(path: string, maxBytes: number): string | { line: number; column: number; message: string } {
  const { size } = statSync(path);
  if (size > maxBytes) return { line: 1, column: 1, message: `is larger than ${maxBytes / 1024 / 1024} MiB: split it` };
  const bytes = readFileSync(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return { ...firstBadByte(bytes), message: "is not UTF-8 text: save it as UTF-8" };
  }
}

/** Where the text stops being one: lines of the part before it, and its characters. */
function firstBadByte(bytes: Uint8Array): { line: number; column: number } {
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  let good = 0;
  let read = 0;
  for (const character of lenient) {
    const length = Buffer.byteLength(character);
    if (character === "\ufffd" && !(bytes[read] === 0xef && bytes[read + 1] === 0xbf && bytes[read + 2] === 0xbd))
      break;
    read += length;
    good += character.length;
  }
  const before = lenient.slice(0, good);
  return { line: before.split("\n").length, column: good - before.lastIndexOf("\n") };
}

/** One line for the user. */
export function whyUnreadable(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return `\`${path}\` is not there: check the path`;
  if (code === "EACCES" || code === "EPERM") return `\`${path}\` must not be read: check its permissions`;
  if (code === "EISDIR") return `\`${path}\` is a folder: name a file`;
  return code === undefined && message?.startsWith("`") ? message : `\`${path}\` cannot be read (${code ?? message})`;
}

function listFolder(folder: string, depth: number): string[] {
  if (depth > MAX_DEPTH)
    throw new Error(`\`${folder}\` lies more than ${MAX_DEPTH} folders deep: check for a link in a circle`);
  const found: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort(byName)) {
    if (entry.name.startsWith(".")) continue;
    const path = join(folder, entry.name);
    if (isFolder(entry, path)) found.push(...listFolder(path, depth + 1));
    else if (DOCUMENT.test(entry.name)) found.push(path);
    if (found.length > MAX_FILES)
      throw new Error(`\`${folder}\` holds more than ${MAX_FILES} documents: name a smaller folder`);
  }
  return found;
}

/** The same order on every machine, whatever its locale. */
function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function isFolder(entry: Dirent, path: string): boolean {
  return (
    entry.isDirectory() ||
    (entry.isSymbolicLink() && (statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false))
  );
}
