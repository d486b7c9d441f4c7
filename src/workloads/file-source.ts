import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import { readTextFile, whyUnreadable } from "./files.ts";
import type { IdentityTable } from "./identity.ts";
import { type QuickReader, readWorkloads, type WorkloadSnapshot, type WorkloadsResult } from "./objects.ts";

const MAX_BYTES = 256 * 1024 * 1024;
const SETTLE_MS = 20;
/** A file that is written to without end is still read this often. */
const LONGEST_SETTLE_MS = 500;
/** File systems that report no changes (network mounts, some overlays) are read again this often. */
const POLL_MS = 2000;

/** Reads a file of Pods and Namespaces once. Never throws. */
export function readWorkloadFile(path: string, identities: IdentityTable, quick?: QuickReader): WorkloadsResult {
  const text = readText(path);
  return typeof text === "object" ? { ok: false, problem: text.problem } : parse(path, text, identities, quick);
}

export interface WorkloadFileListener {
  /** The file has a new content that can be read. */
  onSnapshot(snapshot: WorkloadSnapshot): void;
  /** It cannot be read, one line; the last snapshot stays good. Said once for the same text. */
  onProblem(problem: string): void;
}

/** Follows a file of Pods and Namespaces, also when it is replaced by a rename, until closed. */
export class WorkloadFileSource {
  readonly #path: string;
  readonly #identities: IdentityTable;
  readonly #listener: WorkloadFileListener;
  readonly #quick: QuickReader | undefined;
  readonly #poll: NodeJS.Timeout;
  #watcher: FSWatcher | null = null;
  #settle: NodeJS.Timeout | null = null;
  #unsettledSince = 0;
  #text: string | null = null;
  #problem: string | null = null;

  /** The first reading is told before the constructor returns. */
  constructor(path: string, identities: IdentityTable, listener: WorkloadFileListener, quick?: QuickReader) {
    this.#path = path;
    this.#quick = quick;
    this.#identities = identities;
    this.#listener = listener;
    this.#watch();
    this.#read();
    this.#poll = setInterval(() => {
      if (this.#watcher === null) this.#watch();
      this.#read();
    }, POLL_MS);
  }

  close(): void {
    clearInterval(this.#poll);
    if (this.#settle !== null) clearTimeout(this.#settle);
    this.#settle = null;
    this.#watcher?.close();
    this.#watcher = null;
  }

  /** The folder is watched, not the file: a rename over the file leaves a watch on the old one. */
  #watch(): void {
    try {
      this.#watcher = watch(dirname(this.#path), () => this.#changed());
      this.#watcher.on("error", () => {
        this.#watcher?.close();
        this.#watcher = null;
      });
    } catch {
      // Polling finds it once the folder is there.
    }
  }

  #changed(): void {
    const now = Date.now();
    if (this.#settle === null) this.#unsettledSince = now;
    else if (now - this.#unsettledSince > LONGEST_SETTLE_MS) return;
    else clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      this.#settle = null;
      this.#read();
    }, SETTLE_MS);
  }

  #read(): void {
    const text = readText(this.#path);
    if (typeof text === "object") {
      this.#text = null;
      this.#fail(text.problem);
    } else if (text !== this.#text) {
      this.#text = text;
      const result = parse(this.#path, text, this.#identities, this.#quick);
      if (result.ok) {
        this.#problem = null;
        this.#listener.onSnapshot(result.snapshot);
      } else this.#fail(result.problem);
    }
  }

  #fail(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#listener.onProblem(problem);
  }
}

function readText(path: string): string | { readonly problem: string } {
  try {
    return readTextFile(path, MAX_BYTES);
  } catch (error) {
    return { problem: whyUnreadable(path, error) };
  }
}

function parse(path: string, text: string, identities: IdentityTable, quick?: QuickReader): WorkloadsResult {
  const result = readWorkloads(text, identities, quick);
  return result.ok ? result : { ok: false, problem: `\`${path}\`: ${result.problem}` };
}
