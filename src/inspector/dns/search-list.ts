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
 * meant: their denials are neither counted nor recorded. Recognised by a suffix that is known, or by what the
 * same workload asked just before: the same name with nothing, or with a part of the cluster domain's list, behind it.
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
    let stems = this.#workloads.get(workloadId);
    if (stems === undefined) {
      stems = new Map();
      this.#workloads.set(workloadId, stems);
    }
    for (const text of this.#stemsOf(name)) {
      const known = stems.get(text);
      const live = known !== undefined && now - known.time < WINDOW_MS;
      stems.delete(text);
      stems.set(text, { time: now, silenced: live ? known.silenced : 0 });
    }
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

  /** The name itself; under the cluster domain also without it, without `svc`, and without the namespace before that. */
  #stemsOf(name: string): string[] {
    const stems = [name];
    if (name === this.#clusterDomain || !isUnder(name, this.#clusterDomain)) return stems;
    let rest = name.slice(0, -this.#clusterDomain.length - 1);
    stems.push(rest);
    if (!isUnder(rest, "svc") || rest === "svc") return stems;
    rest = rest.slice(0, -4);
    stems.push(rest);
    const dot = rest.lastIndexOf(".");
    if (dot > 0) stems.push(rest.slice(0, dot));
    return stems;
  }
}
