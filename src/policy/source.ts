import { NOT_PLAIN } from "./plain-scalar.ts";
import { readPlain, type ValueBudget } from "./plain-yaml.ts";
import { MAX_SOURCE_LENGTH, MAX_VALUES, readYaml, type SourceProblem } from "./yaml-source.ts";

/** One document of a file, without the positions of its parts: those are looked up when something is said about it. */
export interface SourceText {
  /** `known`: the text is that of a document that was read before. */
  readonly content: { readonly known: true } | { readonly known: false; readonly value: unknown };
  /** Of a document that was read by itself: where its text lies in that of the file, from its first line to the next separator. */
  readonly span: Span | null;
  /** Values in it; 0 for one that was read with the whole file. */
  readonly size: number;
  /** Lines of the file above it; 0 for one that was read with the whole file. */
  readonly above: number;
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface SourceTexts {
  readonly documents: readonly SourceText[];
  readonly problems: readonly SourceProblem[];
}

/** The size of a document that was read before with the same text, or null. */
export type Known = (text: string) => number | null;

/** A line that ends a document, or that later documents depend on, in other ways than `---` alone. */
const MARKER = /^(?:%|\.\.\.|---(?! *$))/m;
const SEPARATOR = /^--- *\n/gm;

/**
 * Reads YAML (or JSON, which is YAML) of any number of documents: what is plain by the fast reader, a file with anything else by
 * the YAML reader, with the same result. Never throws.
 */
export function readSource(text: string, known: Known): SourceTexts {
  const plain = text.length > MAX_SOURCE_LENGTH || text.trim() === "" ? null : readPlainFile(text, known);
  if (plain !== null) return { documents: plain, problems: [] };
  const { documents, problems } = readYaml(text);
  return {
    documents: documents.map(({ value }) => ({ content: { known: false, value }, span: null, size: 0, above: 0 })),
    problems,
  };
}

/** The documents of a file that is plain as a whole, in order; null: anything else. Never throws. */
export function readPlainDocuments(text: string): unknown[] | null {
  const documents = readPlainFile(text, () => null);
  return documents?.flatMap(({ content }) => (content.known ? [] : [content.value])) ?? null;
}

function readPlainFile(text: string, known: Known): SourceText[] | null {
  if (/^\s*[[{]/.test(text)) {
    const value = readJson(text);
    return value === NOT_PLAIN ? null : [{ content: { known: false, value }, span: null, size: 0, above: 0 }];
  }
  if (MARKER.test(text)) return null;
  const budget = { values: MAX_VALUES };
  const documents: SourceText[] = [];
  let above = 0;
  for (const { part, start } of partsOf(text)) {
    if (!isBlank(part)) {
      const content = readPart(part, known(part), budget);
      if (content === null) return null;
      documents.push({ ...content, span: { start, end: start + part.length }, above });
    }
    above += linesOf(part) + 1;
  }
  return documents;
}

function readPart(
  text: string,
  known: number | null,
  budget: ValueBudget,
): Pick<SourceText, "content" | "size"> | null {
  if (known !== null) {
    budget.values -= known;
    return budget.values < 0 ? null : { content: { known: true }, size: known };
  }
  const before = budget.values;
  const value = readPlain(text, budget);
  return value === NOT_PLAIN ? null : { content: { known: false, value }, size: before - budget.values };
}

function partsOf(text: string): { part: string; start: number }[] {
  const parts: { part: string; start: number }[] = [];
  let start = 0;
  for (const match of text.matchAll(SEPARATOR)) {
    parts.push({ part: text.slice(start, match.index), start });
    start = match.index + match[0].length;
  }
  const rest = text.slice(start);
  // A separator without a line behind it ends the file.
  parts.push({ part: rest.replace(/^--- *$/m, ""), start });
  return parts;
}

function isBlank(text: string): boolean {
  return !/^ *[^ #\n]/m.test(text);
}

function linesOf(text: string): number {
  let lines = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

/** JSON as every reader understands it: no key twice, nothing nested deep, no escape that YAML might take otherwise. */
function readJson(text: string): unknown {
  if (/[^\n\r\x20-\x7e\u00a1-\u167f\u3001-\ud7ff]|\\u|__proto__/.test(text)) return NOT_PLAIN;
  try {
    const value: unknown = JSON.parse(text);
    const pairs = text.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1;
    const count = { values: MAX_VALUES, keys: 0 };
    return countValues(value, 0, count) && count.keys === pairs ? value : NOT_PLAIN;
  } catch {
    return NOT_PLAIN;
  }
}

const MAX_JSON_DEPTH = 40;

/** Keys of all maps into `count`; false: too deep or too many. A key given twice is one key, but two pairs of the text. */
function countValues(value: unknown, depth: number, count: { values: number; keys: number }): boolean {
  if (--count.values < 0 || depth > MAX_JSON_DEPTH) return false;
  if (typeof value === "number") return Number.isSafeInteger(value) && !Object.is(value, -0);
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every((item) => countValues(item, depth + 1, count));
  const items = Object.values(value);
  count.keys += items.length;
  return items.every((item) => countValues(item, depth + 1, count));
}
