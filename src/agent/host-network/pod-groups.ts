import { existsSync, type FSWatcher, readdirSync, readFileSync, statSync, watch } from "node:fs";
import { join, relative } from "node:path";

/** The control group of a pod. */
export interface PodGroup {
  /** By which the kernel knows it: the number of its folder. */
  readonly group: bigint;
  /** Folders from the root of the tree down to it. */
  readonly level: number;
}

/** The kubelet's own folder is at the root of the tree, or, in a node that is a container itself, a little below. */
const DEEPEST = 3;
const KUBEPODS = /^(?:.+-)?kubepods(?:\.slice)?$/;
const CLASS = /^(?:.+-)?(?:burstable|besteffort)(?:\.slice)?$/;
/** Of both drivers of the kubelet: `pod<uid>`, `kubepods-burstable-pod<uid with underscores>.slice`. The UID of a static pod is a hash. */
const POD = /^(?:.+-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$/;

/** The folder of version 2 of control groups in what is mounted at `path`; null: there is none. */
export function unifiedTree(path: string): string | null {
  // Beside version 1 hierarchies it has a folder of its own.
  return [path, join(path, "unified")].find((folder) => existsSync(join(folder, "cgroup.controllers"))) ?? null;
}

/** Whether groups in `tree` are counted from the root of this process's own control group namespace, as the kernel counts levels of what we ask. */
export function isOwnTree(tree: string): boolean {
  try {
    const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
    if (own === undefined) return false;
    return readFileSync(join(tree, own, "cgroup.procs"), "utf8")
      .split("\n")
      .includes(String(process.pid));
  } catch {
    return false;
  }
}

/** Finds the groups of pods in a tree, and tells when there may be others. */
export class PodGroups {
  readonly #tree: string;
  readonly #changed: () => void;
  #watchers = new Map<string, FSWatcher>();
  #closed = false;

  constructor(tree: string, changed: () => void) {
    this.#tree = tree;
    this.#changed = changed;
  }

  /** The groups of pods, by UID. Where one has two, whatever is in either is the pod's. */
  read(): ReadonlyMap<string, readonly PodGroup[]> {
    const found = new Map<string, PodGroup[]>();
    const folders = this.#podFolders();
    this.#watch([...folders, this.#tree]);
    for (const folder of folders) {
      for (const name of foldersOf(folder)) {
        const uid = POD.exec(name)?.[1]?.replaceAll("_", "-");
        const group = uid === undefined ? null : this.#groupOf(join(folder, name));
        if (uid !== undefined && group !== null) found.set(uid, [...(found.get(uid) ?? []), group]);
      }
    }
    return found;
  }

  /** At which levels groups of pods are; empty: the kubelet has made none. */
  levels(): readonly number[] {
    const levels = this.#podFolders().map((folder) => this.#levelOf(folder) + 1);
    return [...new Set(levels)].sort((a, b) => a - b);
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Folders that hold groups of pods: of guaranteed ones directly, of the others by class. */
  #podFolders(): string[] {
    return this.#kubepods(this.#tree, 1).flatMap((folder) => [
      folder,
      ...foldersOf(folder)
        .filter((name) => CLASS.test(name))
        .map((name) => join(folder, name)),
    ]);
  }

  #kubepods(folder: string, depth: number): string[] {
    const names = foldersOf(folder);
    const here = names.filter((name) => KUBEPODS.test(name)).map((name) => join(folder, name));
    if (here.length > 0 || depth === DEEPEST) return here;
    return names.flatMap((name) => this.#kubepods(join(folder, name), depth + 1));
  }

  #groupOf(path: string): PodGroup | null {
    try {
      return { group: statSync(path, { bigint: true }).ino, level: this.#levelOf(path) };
    } catch {
      return null;
    }
  }

  #levelOf(path: string): number {
    return relative(this.#tree, path).split("/").length;
  }

  #watch(folders: readonly string[]): void {
    const wanted = new Set(folders);
    for (const [folder, watcher] of this.#watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of wanted) {
      if (this.#closed || this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, () => this.#changed());
        watcher.on("error", () => this.#watchers.delete(folder));
        this.#watchers.set(folder, watcher);
      } catch {
        // It went, or no watches are left; whoever asks reads again now and then.
      }
    }
  }
}

function foldersOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
