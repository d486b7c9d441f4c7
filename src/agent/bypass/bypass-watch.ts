import { bypassClock } from "../../kernel/ruleset-sets.ts";
import type { Logger } from "../log.ts";
import { PathWatch } from "../path-watch.ts";
import type { Bypass } from "./bypass.ts";
import { bypassPath, readBypasses, writeKnown } from "./bypass-file.ts";

export interface BypassWatchOptions {
  /** The state folder. */
  readonly folder: string;
  readonly log: Logger;
  readonly changed: () => void;
}

/**
 * Follows what `sallyport bypass` writes on this node, and ends each bypass when its time has come. All that it does is told in the
 * log. A file that cannot be read sets nothing aside.
 */
export class BypassWatch {
  readonly #options: BypassWatchOptions;
  #active: readonly Bypass[] = [];
  /** Ids that were said to be in force. */
  #told = "[]";
  #problem = "";
  #watch: PathWatch | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: BypassWatchOptions) {
    this.#options = options;
    this.#look();
  }

  get active(): readonly Bypass[] {
    return this.#active;
  }

  follow(): void {
    this.#watch = new PathWatch([bypassPath(this.#options.folder)], () => this.#lookAgain());
    this.#lookAgain();
  }

  /** Those of `bypasses` are in force, and no others: said to whoever waits for it. */
  applied(bypasses: readonly Bypass[]): void {
    const told = JSON.stringify(bypasses.map(({ id }) => id));
    if (told === this.#told) return;
    try {
      writeKnown(this.#options.folder, bypasses);
      this.#told = told;
    } catch (error) {
      this.#options.log.warn({ event: "bypass-not-told", error: String(error) });
    }
  }

  close(): void {
    this.#watch?.close();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #lookAgain(): void {
    const before = this.#active;
    this.#look();
    if (JSON.stringify(before) !== JSON.stringify(this.#active)) this.#options.changed();
  }

  #look(): void {
    const before = this.#active;
    const now = this.#read();
    this.#active = now;
    const { log } = this.#options;
    for (const { endsAt: _, bootID: __, ...one } of now.filter(({ id }) => !before.some((other) => other.id === id))) {
      log.warn({ event: "bypass-begun", ...one }, "enforcement is set aside; what would be denied is let pass");
    }
    for (const one of before.filter(({ id }) => !now.some((other) => other.id === id))) {
      const how = one.endsAt <= bypassClock() ? "expired" : "ended";
      log.warn({ event: "bypass-ended", id: one.id, scope: one.scope, namespace: one.namespace, how });
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (now.length === 0) return;
    const next = Math.min(...now.map(({ endsAt }) => endsAt)) - bypassClock();
    this.#timer = setTimeout(() => this.#lookAgain(), Math.max(0, next) + 20);
    this.#timer.unref();
  }

  #read(): readonly Bypass[] {
    try {
      const read = readBypasses(this.#options.folder);
      this.#problem = "";
      return read;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem)
        this.#options.log.error({ event: "bypass-refused", problem }, "nothing is set aside by it");
      this.#problem = problem;
      return [];
    }
  }
}
