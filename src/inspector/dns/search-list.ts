import { isUnder } from "./bindable.ts";

/** A stub resolver goes through its search list at once. */
const WINDOW_MS = 2_000;
const MOST_STEMS = 64;
/** Names that one stem excuses within the window: search lists are short, and nothing may hide behind one for long. */
const MOST_SILENT = 8;

interface Stem {
  time: number;
  silenced: number;
}

/**
 * Tells names that a search list made (`api.github.com.corp.example` on the way to `api.github.com`) from names that someone
 * meant: their denials are neither counted nor recorded. Recognised by a suffix that is known, or by what the same workload
 * asked just before: a stub that walks its list asks `STEM.CLUSTER-DOMAIN` for the stem that was meant, so a name made of that stem is
 * not meant, and a name that was such a stem itself is.
 */
export class SearchLists {
  readonly #clusterDomain: string;
  readonly #suffixes: readonly string[];
  readonly #workloads = new Map<number, Map<string, Stem>>();

  constructor(clusterDomain: string, suffixes: readonly string[]) {
    this.#clusterDomain = clusterDomain;
    this.#suffixes = suffixes;
  }

  /** Remembers a question: names made of it may follow. */
  asked(workloadId: number, name: string, now: number): void {
    const text = this.#stemOf(name);
    let stems = this.#workloads.get(workloadId);
    if (stems === undefined) {
      if (text === null) return;
      stems = new Map();
      this.#workloads.set(workloadId, stems);
    }
    if (text !== null) {
      const known = stems.get(text);
      const live = known !== undefined && now - known.time < WINDOW_MS;
      stems.delete(text);
      stems.set(text, { time: now, silenced: live ? known.silenced : 0 });
    }
    if (stems.size === 0) return;
    for (const [text, { time }] of stems) {
      if (stems.size <= MOST_STEMS && now - time < WINDOW_MS) break;
      stems.delete(text);
    }
  }

  /** Whether this denied name was made by a search list. */
  isMade(workloadId: number, name: string, now: number): boolean {
    for (const suffix of this.#suffixes) if (name !== suffix && isUnder(name, suffix)) return true;
    const stems = this.#workloads.get(workloadId);
    if (stems === undefined) return false;
    const meant = stems.get(name);
    if (meant !== undefined && now - meant.time < WINDOW_MS) return false;
    for (let dot = name.indexOf("."); dot > 0; dot = name.indexOf(".", dot + 1)) {
      const stem = stems.get(name.slice(0, dot));
      if (stem === undefined || now - stem.time >= WINDOW_MS || stem.silenced >= MOST_SILENT) continue;
      stem.silenced++;
      return true;
    }
    return false;
  }

  forgetWorkload(workloadId: number): void {
    this.#workloads.delete(workloadId);
  }

  /** Of `STEM.CLUSTER-DOMAIN`, the last entry of the list that every pod has; null for all other names, Services among them. */
  #stemOf(name: string): string | null {
    if (name === this.#clusterDomain || !isUnder(name, this.#clusterDomain)) return null;
    const stem = name.slice(0, -this.#clusterDomain.length - 1);
    return stem === "svc" || isUnder(stem, "svc") ? null : stem;
  }
}
