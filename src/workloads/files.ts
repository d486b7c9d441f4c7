import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

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

/** Reads the same files again and again; one that has not changed is not opened. */
export class DocumentFiles {
  #known = new Map<string, { readonly file: SourceFile; readonly stamp: string | null }>();

  /** As `readDocumentFiles`. A file with the content it had when it was read last is the same object. */
  read(paths: readonly string[]): SourceFile[] {
    const found = new Set<string>();
    const problems: string[] = [];
    const now = new Map<string, { readonly file: SourceFile; readonly stamp: string | null }>();
    for (const path of paths) {
      try {
        const files = statSync(path).isDirectory() ? listFolder(path, 0) : [path];
        if (files.length === 0) problems.push(`\`${path}\` holds no *.yaml, *.yml or *.json: name another folder`);
        for (const file of files) {
          if (!found.has(file)) now.set(file, this.#readFile(file));
          found.add(file);
        }
      } catch (error) {
        problems.push(whyUnreadable(path, error));
      }
    }
    if (problems.length > 0) throw new Error(problems.join("\n"));
    this.#known = now;
    return [...now.values()].map(({ file }) => file);
  }

  #readFile(path: string): { readonly file: SourceFile; readonly stamp: string | null } {
    const stamp = stampOf(path);
    const known = this.#known.get(path);
    if (known !== undefined && stamp !== null && known.stamp === stamp) return known;
    const file = readDocumentFile(path);
    const same = known !== undefined && known.file.text === file.text && !known.file.problem && !file.problem;
    return { file: same ? known.file : file, stamp };
  }
}

/** A file that was written this lately may be written again without its times telling: they go by ticks of the kernel. */
const UNSETTLED_MS = 100;

/** What changes with the content of a file; null while that is not sure. Taken before it is read. @throws what node:fs throws */
function stampOf(path: string): string | null {
  const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
  if (Math.abs(Date.now() - ctimeMs) < UNSETTLED_MS) return null;
  return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
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
