/** One entry of an archive. Folders end in `/`. Modes are those of `chmod`. */
export interface Entry {
  readonly path: string;
  readonly mode: number;
  /** Content of a file. */
  readonly data?: Uint8Array;
  /** Target of a symbolic link. */
  readonly link?: string;
}

const BLOCK = 512;
const LONGEST = 100;

/** A POSIX ustar archive (IEEE Std 1003.1, pax): everything of root's, no times, so that equal input gives equal bytes. */
export function tar(entries: readonly Entry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const data = entry.data ?? new Uint8Array();
    parts.push(header(entry, data.length), data, new Uint8Array(-data.length & (BLOCK - 1)));
  }
  return Buffer.concat([...parts, new Uint8Array(2 * BLOCK)]);
}

function header(entry: Entry, size: number): Buffer {
  const { name, prefix } = splitPath(entry.path);
  if ((entry.link?.length ?? 0) > LONGEST) throw new Error(`the link \`${entry.path}\` has too long a target`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, "0")}\0`;
  block.write(name, 0);
  block.write(octal(entry.mode, 8) + octal(0, 8) + octal(0, 8) + octal(size, 12) + octal(0, 12), LONGEST);
  block.write(" ".repeat(8), 148);
  block.write(entry.link !== undefined ? "2" : entry.path.endsWith("/") ? "5" : "0", 156);
  block.write(entry.link ?? "", 157);
  block.write("ustar\x0000root", 257);
  block.write("root", 297);
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** A path over 100 bytes is split at a slash. @throws Error when there is no fitting one */
function splitPath(path: string): { readonly name: string; readonly prefix: string } {
  if (Buffer.byteLength(path) <= LONGEST) return { name: path, prefix: "" };
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
    const name = path.slice(at + 1);
    if (at <= 155 && name !== "" && Buffer.byteLength(name) <= LONGEST) return { name, prefix: path.slice(0, at) };
  }
  throw new Error(`the path \`${path}\` is too long for an archive`);
}
