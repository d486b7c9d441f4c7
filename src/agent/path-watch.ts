import { type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

const SETTLE_MS = 30;
/** File systems that report no changes (network mounts, some overlays) are read again this often. */
const POLL_MS = 2_000;

/**
 * Says when files or folders may have changed. Folders are watched, not files: editors and Kubernetes replace a file by
 * renaming another over it. Changes that come together are told once.
 */
export class PathWatch {
  readonly #changed: () => void;
  readonly #watchers: FSWatcher[] = [];
  readonly #poll: NodeJS.Timeout;
  #settle: NodeJS.Timeout | null = null;

  constructor(paths: readonly string[], changed: () => void) {
    this.#changed = changed;
    for (const path of paths) {
      try {
        // A folder with all below it; of a file only its own folder, which may be as large as /tmp.
        const folder = isFolder(path);
        const watcher = watch(folder ? path : dirname(path), { recursive: folder }, (_kind, name) => {
          if (folder || concerns(basename(path), name)) this.#soon();
        });
        watcher.on("error", () => undefined);
        this.#watchers.push(watcher);
      } catch {
        // Polling finds it once it is there.
      }
    }
    this.#poll = setInterval(() => this.#changed(), POLL_MS);
  }

  close(): void {
    clearInterval(this.#poll);
    if (this.#settle !== null) clearTimeout(this.#settle);
    for (const watcher of this.#watchers) watcher.close();
  }

  #soon(): void {
    if (this.#settle !== null) return;
    this.#settle = setTimeout(() => {
      this.#settle = null;
      this.#changed();
    }, SETTLE_MS);
  }
}

/**
 * Whether a change of `name` may be one of the file `wanted` beside it: there may be logs that are written all the time.
 * Kubernetes changes a mounted file by turning the link `..data`.
 */
function concerns(wanted: string, name: string | null): boolean {
  return name === null || name === wanted || name.startsWith("..");
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
