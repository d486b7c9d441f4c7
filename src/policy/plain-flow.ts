import { bareValue, isKey, NOT_PLAIN } from "./plain-scalar.ts";
import type { ValueBudget } from "./plain-yaml.ts";

const END = /^ *(?: #.*)?$/;
const SPACES = / */y;
const QUOTED = /"([^"\\]*)"|'([^']*)'/y;
const BARE = /[A-Za-z0-9/_](?:[A-Za-z0-9/_.+\-*]|:(?=[A-Za-z0-9:/])| (?=[A-Za-z0-9]))*/y;
const KEY = /([A-Za-z_][A-Za-z0-9_./-]*): +/y;

/** A flow collection that fills the rest of a line, or `NOT_PLAIN`. `levels`: how deep it may nest. */
export function flowValue(text: string, budget: ValueBudget, levels: number): unknown {
  const reader = new FlowReader(text, budget);
  const value = reader.value(levels);
  return value !== NOT_PLAIN && END.test(text.slice(reader.at)) ? value : NOT_PLAIN;
}

class FlowReader {
  at = 0;
  readonly #text: string;
  readonly #budget: ValueBudget;

  constructor(text: string, budget: ValueBudget) {
    this.#text = text;
    this.#budget = budget;
  }

  value(levels: number): unknown {
    if (levels < 0 || --this.#budget.values < 0) return NOT_PLAIN;
    const first = this.#text[this.at];
    if (first === "[") return this.#list(levels);
    if (first === "{") return this.#map(levels);
    const quoted = this.#take(QUOTED);
    if (quoted !== null) return quoted[1] ?? quoted[2];
    const bare = this.#take(BARE);
    return bare === null ? NOT_PLAIN : bareValue(bare[0]);
  }

  #list(levels: number): unknown {
    const items: unknown[] = [];
    const ended = this.#entries("]", () => {
      const item = this.value(levels - 1);
      items.push(item);
      return item !== NOT_PLAIN;
    });
    return ended ? items : NOT_PLAIN;
  }

  #map(levels: number): unknown {
    const value: Record<string, unknown> = {};
    const ended = this.#entries("}", () => {
      const key = this.#take(KEY)?.[1];
      if (key === undefined || !isKey(key) || Object.hasOwn(value, key)) return false;
      value[key] = this.value(levels - 1);
      return value[key] !== NOT_PLAIN;
    });
    return ended ? value : NOT_PLAIN;
  }

  /** Entries between commas, up to the closing bracket. Whether all is as it should be. */
  #entries(close: string, entry: () => boolean): boolean {
    this.at++;
    this.#take(SPACES);
    if (this.#text[this.at] === close) {
      this.at++;
      return true;
    }
    for (;;) {
      if (!entry()) return false;
      this.#take(SPACES);
      const next = this.#text[this.at++];
      if (next === close) return true;
      if (next !== ",") return false;
      this.#take(SPACES);
    }
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (match !== null) this.at = pattern.lastIndex;
    return match;
  }
}
