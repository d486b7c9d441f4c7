import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { RulesetSpec } from "../kernel/ruleset.ts";
import { renderBootRuleset } from "../kernel/ruleset-boot.ts";
import type { Logger } from "./log.ts";

/**
 * Keeps a file of the rules that close this node from its next boot on, for whoever loads it before the first pod runs
 * (deploy/node/sallyport-boot.service). The agent only writes: it can load nothing into a boot.
 */
export class BootRules {
  readonly #path: string;
  readonly #log: Logger;
  #written: string | null = null;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Never throws: enforcement now does not depend on it. */
  keep(spec: RulesetSpec): void {
    const text = renderBootRuleset(spec);
    if (text === this.#written) return;
    try {
      if (text === "") this.remove();
      else {
        mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
        const next = `${this.#path}.${process.pid}`;
        writeFileSync(next, text, { mode: 0o600 });
        renameSync(next, this.#path);
      }
      this.#written = text;
    } catch (error) {
      this.#log.warn(
        { event: "boot-rules-not-written", error: String(error) },
        "the next boot begins with rules of before, or with none",
      );
    }
  }

  /** Nothing is to be closed by it any more. @throws Error */
  remove(): void {
    rmSync(this.#path, { force: true });
  }
}
