import { flowValue } from "./plain-flow.ts";
import { isKey, NOT_PLAIN, scalar } from "./plain-scalar.ts";

/** Keys are compared and kept by what a map may hold: anything unusual is left to the YAML reader. */
const LINE = /^(?:([A-Za-z_][A-Za-z0-9_./-]*):(?: +|$))?(.*)$/;
/** Printable ASCII, and letters of most scripts; tabs, carriage returns and marks of byte order have rules of their own. */
const UNUSUAL = /[^\n\x20-\x7e\u00a1-\u167f\u3001-\ud7ff]/;
const MAX_DEPTH = 40;

/** Values that may still be read, of all documents of a file. */
export interface ValueBudget {
  values: number;
}

/**
 * Reads one document of YAML's everyday part, fifty times faster than the whole language: block maps and lists, scalars and flow
 * collections on one line, comments. `NOT_PLAIN`: it is anything else, or wrong, or empty; then the YAML reader has the word.
 * What is returned is what that reader returns. Never throws.
 */
export function readPlain(text: string, budget: ValueBudget): unknown {
  if (UNUSUAL.test(text)) return NOT_PLAIN;
  const reader = new PlainReader(text, budget);
  try {
    return reader.read();
  } catch {
    // Its own sign, or a stack that was too small for a line of megabytes.
    return NOT_PLAIN;
  }
}

/** Throws `NOT_PLAIN`, and nothing else. */
class PlainReader {
  readonly #text: string;
  readonly #budget: ValueBudget;
  #next = 0;
  /** Of the line that is read now: spaces before it, -1 behind the last one. */
  #indent = -1;
  /** The rest of that line, without spaces before it. */
  #rest = "";

  constructor(text: string, budget: ValueBudget) {
    this.#text = text;
    this.#budget = budget;
  }

  read(): unknown {
    this.#advance();
    const value = this.#indent === 0 ? this.#block(0, 0) : NOT_PLAIN;
    return this.#ended() ? value : NOT_PLAIN;
  }

  #ended(): boolean {
    return this.#indent < 0;
  }

  /** To the next line that holds more than a comment. */
  #advance(): void {
    const text = this.#text;
    while (this.#next < text.length) {
      const found = text.indexOf("\n", this.#next);
      const end = found < 0 ? text.length : found;
      let start = this.#next;
      while (start < end && text.charCodeAt(start) === 0x20) start++;
      const indent = start - this.#next;
      this.#next = end + 1;
      if (start === end || text.charCodeAt(start) === 0x23) continue;
      this.#indent = indent;
      this.#rest = text.slice(start, end);
      return;
    }
    this.#indent = -1;
  }

  #block(indent: number, depth: number): unknown {
    if (depth > MAX_DEPTH || --this.#budget.values < 0) throw NOT_PLAIN;
    return isItem(this.#rest) ? this.#list(indent, depth) : this.#map(indent, depth);
  }

  #list(indent: number, depth: number): unknown[] {
    const items: unknown[] = [];
    while (this.#indent === indent && isItem(this.#rest)) {
      const rest = this.#rest;
      let at = 1;
      while (rest.charCodeAt(at) === 0x20) at++;
      if (at === rest.length || rest.charCodeAt(at) === 0x23) {
        this.#advance();
        items.push(this.#indent > indent ? this.#block(this.#indent, depth + 1) : this.#nothing());
        continue;
      }
      const content = rest.slice(at);
      if (isKeyed(content)) {
        // A map whose first key stands behind the dash.
        this.#indent = indent + at;
        this.#rest = content;
        items.push(this.#block(this.#indent, depth + 1));
      } else items.push(this.#inline(content, depth + 1));
    }
    if (this.#indent > indent) throw NOT_PLAIN;
    return items;
  }

  #map(indent: number, depth: number): Record<string, unknown> {
    const value: Record<string, unknown> = {};
    while (this.#indent === indent) {
      const match = LINE.exec(this.#rest);
      const key = match?.[1];
      if (key === undefined || !isKey(key) || Object.hasOwn(value, key)) throw NOT_PLAIN;
      const rest = match![2]!;
      if (rest !== "" && rest.charCodeAt(0) !== 0x23) {
        value[key] = this.#inline(rest, depth + 1);
        continue;
      }
      this.#advance();
      const nested = this.#indent > indent || (this.#indent === indent && isItem(this.#rest));
      value[key] = nested ? this.#block(this.#indent, depth + 1) : this.#nothing();
      // A list as deep as its key is this map's; what follows it is the next key.
    }
    if (this.#indent > indent) throw NOT_PLAIN;
    return value;
  }

  /** A value that ends with its line; one that went on in the next is deeper than all that may follow. */
  #inline(text: string, depth: number): unknown {
    const first = text.charCodeAt(0);
    const flow = first === 0x5b || first === 0x7b;
    const value = flow ? flowValue(text, this.#budget, MAX_DEPTH - depth) : scalar(text);
    if (value === NOT_PLAIN || (!flow && --this.#budget.values < 0)) throw NOT_PLAIN;
    this.#advance();
    return value;
  }

  #nothing(): null {
    if (--this.#budget.values < 0) throw NOT_PLAIN;
    return null;
  }
}

function isItem(text: string): boolean {
  return text.charCodeAt(0) === 0x2d && (text.length === 1 || text.charCodeAt(1) === 0x20);
}

function isKeyed(text: string): boolean {
  return LINE.exec(text)?.[1] !== undefined;
}
