import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { basename, dirname, join } from "node:path";

const SETTLE_MS = 30;
/** File systems that report no changes (network mounts, some overlays) are read again this often. */
const POLL_MS = 2_000;
/** As deep as documents are looked for (workloads/files.ts), which also ends a link in a circle. */
const MAX_DEPTH = 16;

/**
 * Says when files or folders may have changed. Folders are watched, not files: editors and Kubernetes replace a file by
 * renaming another over it. Changes that come together are told once. Each folder has a watch of its own: Node's recursive one watches
 * file by file on Linux, and after a rename mostly the one that is gone.
 */
export class PathWatch {
  readonly #changed: () => void;
  /** Folders that are watched with all below them. */
  readonly #folders: readonly string[];
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #poll: NodeJS.Timeout;
  #settle: NodeJS.Timeout | null = null;

  constructor(paths: readonly string[], changed: () => void) {
    this.#changed = changed;
    this.#folders = paths.filter(isFolder);
    for (const path of paths) {
      if (this.#folders.includes(path)) this.#followFolder(path, 0);
      // Of a file only its own folder, which may be as large as /tmp.
      else this.#follow(path, dirname(path), (name) => concerns(basename(path), name));
    }
    this.#poll = setInterval(() => this.#tell(), POLL_MS);
  }

  close(): void {
    clearInterval(this.#poll);
    if (this.#settle !== null) clearTimeout(this.#settle);
    for (const watcher of this.#watchers.values()) watcher.close();
  }

  #followFolder(folder: string, depth: number): void {
    this.#follow(folder, folder, () => true);
    if (depth < MAX_DEPTH) for (const below of foldersIn(folder)) this.#followFolder(below, depth + 1);
  }

  #follow(key: string, folder: string, matters: (name: string | null) => boolean): void {
    if (this.#watchers.has(key)) return;
    try {
      const watcher = watch(folder, (kind, name) => {
        if (!matters(name)) return;
        // The folder itself may be another one by now.
        if (kind === "rename" && name === basename(folder)) this.#forget(key);
        this.#soon();
      });
      watcher.on("error", () => this.#forget(key));
      this.#watchers.set(key, watcher);
    } catch {
      // Polling finds it once it is there.
    }
  }

  #forget(key: string): void {
    this.#watchers.get(key)?.close();
    this.#watchers.delete(key);
  }

  #soon(): void {
    if (this.#settle !== null) return;
    this.#settle = setTimeout(() => {
      this.#settle = null;
      this.#tell();
    }, SETTLE_MS);
  }

  #tell(): void {
    // Before it is told: what is written into a new folder from now on is seen.
    for (const folder of this.#folders) this.#followFolder(folder, 0);
    this.#changed();
  }
}

/**
 * Whether a change of `name` may be one of the file `wanted` beside it: there may be logs that are written all the time.
 * Kubernetes changes a mounted file by turning the link `..data`.
 */
function concerns(wanted: string, name: string | null): boolean {
  return name === null || name === wanted || name.startsWith("..");
}

/** Those that documents are looked for in: none that are hidden. */
function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => !entry.name.startsWith(".") && (entry.isDirectory() || entry.isSymbolicLink()))
      .map(({ name }) => join(folder, name))
      .filter(isFolder);
  } catch {
    return [];
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
